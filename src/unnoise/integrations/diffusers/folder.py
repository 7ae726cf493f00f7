"""Read a diffusers folder for loading: classes of the closed table, configs and tokenizers. No code of it runs."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.formats.diffusers_folder import CONFIG, INDEX, listed_components
from unnoise.formats.json_text import read_json
from unnoise.integrations.diffusers.config import checked_config, checked_settings
from unnoise.integrations.diffusers.table import NETWORKS, TOKENIZERS
from unnoise.integrations.diffusers.tokenizer_files import load_tokenizer

# Components that are not needed here.
UNUSED = {"safety_checker", "feature_extractor", "image_encoder", "image_processor", "watermarker", "scheduler"}


def component_classes(folder: Path) -> dict[str, str]:
    """Return the class of each component that a folder lists. Raises InputError for a class outside the table."""
    if not (folder / INDEX).is_file():
        note = "; it is one component of a model, whose folder is above it" if (folder / CONFIG).exists() else ""
        raise InputError(f"{folder}: not a model in the layout of diffusers: it has no {INDEX}{note}")
    found = {}
    for name, (_, class_) in listed_components(read_json(folder / INDEX, folder)).items():
        if name in UNUSED:
            continue
        if class_ not in NETWORKS and class_ not in TOKENIZERS:
            raise InputError(f"{folder}: {name} is of the unknown class {class_!r}; supported: {', '.join(NETWORKS)}")
        if re.fullmatch(r"\w+", name) is None:
            raise InputError(f"{folder}: component {name!r}: a name has letters, digits and _ only")
        found[name] = class_
    return found


def read_configs(folder: Path, classes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the configs of components and of the scheduler, and under "" the index.

    Raises InputError if a config or the folder of a component is missing.
    """
    found = {"": checked_settings(read_json(folder / INDEX, folder), str(folder / INDEX))}
    for name, class_ in classes.items():
        if not (folder / name).is_dir():
            raise InputError(f"{folder}: {INDEX} lists the component {name!r}, a {class_}, but its folder is missing")
        if class_ in NETWORKS:
            place = folder / name / CONFIG
            found[name] = checked_config(class_, read_json(place, folder), str(place))
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if scheduler.exists():
        found["scheduler"] = checked_settings(read_json(scheduler, folder, strict=False), str(scheduler))
    return found


def tokenizers(folder: Path, classes: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    """Return a function for each tokenizer of a folder that loads it."""
    return {name: _tokenizer(folder / name, class_) for name, class_ in classes.items() if class_ in TOKENIZERS}


def _tokenizer(place: Path, class_: str) -> Callable[[], Any]:
    @cache
    def load() -> Any:
        if not place.is_dir():
            raise InputError(f"{place}: the folder of the tokenizer is missing")
        return load_tokenizer(place, class_, place.parent)

    return load
