"""Read a diffusers folder without torch: its index, its configs and the names of its weight files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.formats.json_text import read_json
from unnoise.formats.open_file import inside

INDEX, CONFIG = "model_index.json", "config.json"
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
VARIANTS = ("", ".fp16", ".bf16", ".non_ema", ".ema")  # the first that exists is used
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
SHARD = re.compile(r"[\w.-]+\.safetensors")


def listed_components(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the library and the class of each component that an index lists. A component of class null is left out."""
    found = {}
    for name, value in index.items():
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2:
            library, class_ = value
            if isinstance(library, str) and isinstance(class_, str):
                found[name] = (library, class_)
    return found


def shard_files(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the files in the weight_map of an index of shards, without values that are not text."""
    table = index.get("weight_map")
    return sorted({name for name in table.values() if isinstance(name, str)}) if isinstance(table, dict) else []


def weight_files(folder: Path, name: str, root: Path | None = None) -> list[Path]:
    """Return the safetensors files of a component.

    Args:
        folder: of the model.
        name: of the component.
        root: the folder that the files must lie in, that of the model if None.

    Raises:
        InputError: there is none, or one lies elsewhere.
    """
    found = _weight_files(folder / name, root or folder)
    for path in found:
        inside(path, root or folder)
    return found


def _weight_files(place: Path, root: Path) -> list[Path]:
    for stem in STEMS:
        for variant in VARIANTS:
            index = place / f"{stem}.safetensors.index{variant}.json"
            if index.exists():
                return _shards(index, root)
            one = place / f"{stem}{variant}.safetensors"
            if one.exists():
                return [one]
    pickled = sorted(path.name for path in place.glob("*") if path.suffix in PICKLES)
    if pickled:
        raise InputError(
            f"{place / pickled[0]}: a pickle, which can run code when it is opened; `unnoise convert "
            f"{place / pickled[0]}` writes its weights as safetensors, in a separate process"
        )
    raise InputError(f"{place}: has no weights: no {STEMS[0]}.safetensors, no {STEMS[1]}.safetensors, no shards")


def _shards(index: Path, root: Path) -> list[Path]:
    content = read_json(index, root)
    names = shard_files(content)
    whole = bool(names) and all(isinstance(name, str) for name in content["weight_map"].values())
    if not whole or not all(SHARD.fullmatch(name) for name in names):
        raise InputError(f"{index}: its weight_map must name .safetensors files in the same folder, and nothing else")
    return [index.parent / name for name in names]
