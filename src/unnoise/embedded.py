"""Find a model: a name of the closed table, whose file is part of the package, or a path to a file."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from unnoise.errors import InputError, nearest

ZOO = {"emoji": "emoji.safetensors"}
ADAPTERS = {"ink": "ink.safetensors"}
CONTROLS = {"outline": "outline.safetensors"}


def find(model: str | os.PathLike[str], table: Mapping[str, str] = ZOO) -> Path:
    """Give the path of a file: of a model, or of what another table names.

    Raises InputError where `model` is neither a name of the table nor a path.
    """
    name = os.fspath(model)
    if name in table:
        return Path(str(files("unnoise"))) / "zoo" / table[name]
    if name.endswith(".safetensors") or os.path.lexists(name):
        return Path(name)
    what = "model" if table is ZOO else "adapter" if table is ADAPTERS else "control"
    folder = ", or the path of a file or of a diffusers folder" if table is ZOO else ", or the path of a file"
    raise InputError(f"unknown {what} {name!r}: {nearest(name, table)}{folder}")
