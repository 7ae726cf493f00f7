"""Read a diffusers folder without torch: its index, its configs and the names of its weight files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unnoise.errors import InputError

INDEX, CONFIG = "model_index.json", "config.json"
LARGEST = 4 << 20  # bytes of a JSON file
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
VARIANTS = ("", ".fp16", ".bf16", ".non_ema", ".ema")  # the first that exists is used
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
SHARD = re.compile(r"[\w.-]+\.safetensors")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises InputError for a file that is not one, or is too large."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than {LARGEST} bytes, the most that a config may have")
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {str(error)[:200]}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


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


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files of a component. Raises InputError if there is none, or a shard is elsewhere."""
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
            f"{place / pickled[0]}` writes its weights as safetensors, in a separate process"
        )
    raise InputError(f"{place}: has no weights: no {STEMS[0]}.safetensors, no {STEMS[1]}.safetensors, no shards")


def _shards(index: Path) -> list[Path]:
    content = read_json(index)
    names = shard_files(content)
    whole = bool(names) and all(isinstance(name, str) for name in content["weight_map"].values())
    if not whole or not all(SHARD.fullmatch(name) for name in names):
        raise InputError(f"{index}: its weight_map must name .safetensors files in the same folder, and nothing else")
    return [index.parent / name for name in names]
