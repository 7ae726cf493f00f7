"""Find an embedded model, adapter or control by name, or a file by its path."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from unnoise.errors import InputError, nearest, quoted

ZOO = {"emoji": "emoji.safetensors"}
ADAPTERS = {"ink": "ink.safetensors"}
CONTROLS = {"outline": "outline.safetensors"}


def find(model: str | os.PathLike[str], table: Mapping[str, str] = ZOO) -> Path:
    """Return the path of a file. Raises InputError if `model` is neither a name of the table nor a path."""
    what = "model" if table is ZOO else "adapter" if table is ADAPTERS else "control"
    if not isinstance(model, str | os.PathLike) or not isinstance(name := os.fspath(model), str):
        raise InputError(f"{what} {quoted(model)}: must be a name or a path")
    name = name if os.path.lexists(name) else name.removesuffix(".safetensors") if name in table.values() else name
    if name in table:
        return Path(str(files("unnoise"))) / "zoo" / table[name]
    if name.endswith(".safetensors") or os.path.lexists(name):
        return Path(name)
    folder = ", or the path of a file or of a diffusers folder" if table is ZOO else ", or the path of a file"
    raise InputError(f"unknown {what} {name!r}: {nearest(name, table)}{folder}")
