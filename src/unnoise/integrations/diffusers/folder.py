"""Read a diffusers folder: its components, configs and files of weights. Nothing in it runs, or leads out of it."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import class_of
from unnoise.integrations.diffusers.table import NETWORKS, TOKENIZERS

INDEX = "model_index.json"
LARGEST = 4 << 20  # bytes of a JSON file
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
VARIANTS = ("", ".fp16", ".bf16", ".non_ema", ".ema")  # the first that is there
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
SHARD = re.compile(r"[\w.-]+\.safetensors")
# Components that nothing here needs.
NEEDLESS = {"safety_checker", "feature_extractor", "image_encoder", "image_processor", "watermarker", "scheduler"}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError for a file that is none, or too large."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than {LARGEST} bytes, which no config is")
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def components(folder: Path) -> dict[str, str]:
    """Name the class of each component that a folder lists. Raises InputError for a class that is not known here."""
    if not (folder / INDEX).is_file():
        one = ": it is one component of a model, whose folder is above it" if (folder / "config.json").exists() else ""
        raise InputError(f"{folder}: a folder without {INDEX} is no model in the layout of diffusers{one}")
    found = {}
    for name, value in read_json(folder / INDEX).items():
        if name.startswith("_") or name in NEEDLESS or not isinstance(value, list) or len(value) != 2:
            continue
        made = value[1]
        if made is None:
            continue
        if made not in NETWORKS and made not in TOKENIZERS:
            raise InputError(f"{folder}: {name} is of class {made!r}, which is not known: {', '.join(NETWORKS)}")
        if re.fullmatch(r"\w+", name) is None:
            raise InputError(f"{folder}: component {name!r}: a plain name")
        found[name] = made
    return found


def configs(folder: Path, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Read the configs of components, of the scheduler and of the whole. Raises InputError where one is missing."""
    found = {"": read_json(folder / INDEX)}
    for name, made in names.items():
        if not (folder / name).is_dir():
            raise InputError(f"{folder}: component {name!r}, a {made}, is named in {INDEX}, but its folder is missing")
        if made in NETWORKS:
            found[name] = read_json(folder / name / "config.json")
    own = folder / "scheduler" / "scheduler_config.json"
    return found | ({"scheduler": read_json(own)} if own.exists() else {})


def weight_files(folder: Path, name: str) -> list[Path]:
    """Find the safetensors files of a component. Raises InputError where there is none, or a shard lies elsewhere."""
    place = folder / name
    for stem in STEMS:
        for variant in VARIANTS:
            index = place / f"{stem}.safetensors.index{variant}.json"
            if index.exists():
                return _shards(index)
            one = place / f"{stem}{variant}.safetensors"
            if one.exists():
                return [one]
    pickled = sorted(path.name for path in place.glob("*") if path.suffix in PICKLES)
    if pickled:
        raise InputError(
            f"{place / pickled[0]}: a pickle, which can run code when it is opened; `unnoise convert "
            f"{place / pickled[0]}` writes its weights as safetensors, in a process of its own that reads weights only"
        )
    raise InputError(f"{place}: has no weights: no {STEMS[0]}.safetensors, no {STEMS[1]}.safetensors, no shards")


def _shards(index: Path) -> list[Path]:
    table = read_json(index).get("weight_map")
    names = set(table.values()) if isinstance(table, dict) else set()
    if not names or not all(isinstance(name, str) and SHARD.fullmatch(name) for name in names):
        raise InputError(f"{index}: its weight_map must name .safetensors files beside it, and nothing else")
    return [index.parent / name for name in sorted(names)]


def tokenizers(folder: Path, names: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    """Prepare the tokenizers of a folder; each is read when it is first asked for."""
    return {name: _tokenizer(folder / name, made) for name, made in names.items() if made in TOKENIZERS}


def _tokenizer(place: Path, made: str) -> Callable[[], Any]:
    def read() -> Any:
        if not place.is_dir():
            raise InputError(f"{place}: the folder of the tokenizer is missing")
        try:
            return class_of(made, TOKENIZERS).from_pretrained(str(place), local_files_only=True)
        except InputError:
            raise
        except Exception as error:  # what a damaged file makes of it differs with every tokenizer
            raise InputError(f"{place}: no sound {made}: {str(error).partition(chr(10))[0]}") from None

    return read
