"""Find a model: a name of the closed table, whose file is part of the package, or a path to a file."""

import os
from importlib.resources import files
from pathlib import Path

from unnoise.errors import Refusal, nearest

ZOO = {"emoji": "emoji.safetensors"}


def find(model: str | os.PathLike[str]) -> Path:
    """Give the path of a model's file.

    Raises Refusal where `model` is neither a name of the table nor a path.
    """
    name = os.fspath(model)
    if name in ZOO:
        return Path(str(files("unnoise"))) / "zoo" / ZOO[name]
    if name.endswith(".safetensors") or os.path.lexists(name):
        return Path(name)
    raise Refusal(f"unknown model {name!r}: {nearest(name, ZOO)}, or the path of a file or of a diffusers folder")
