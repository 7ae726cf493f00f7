"""The data set that the embedded model was trained on: 3,780 emoji of the Noto font, with names and aliases.

It stays in the package until that model is replaced by one of `data/emoji.py`.
"""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from unnoise.data.dataset import ImageDataset, PixelArray
from unnoise.data.emoji import read_atlas

HOME = files("unnoise") / "zoo/emoji"


@cache
def _records() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads((HOME / "pictures.json").read_text(encoding="utf-8")))


@cache
def caption_words() -> frozenset[str]:
    """Return every word of the captions, in lower case."""
    names = (str(name) for record in _records() for name in (record["name"], *record["also"]))
    return frozenset(word for name in names for word in re.findall(r"[^\W_]+", name.lower()))


@cache
def _pixels() -> PixelArray:
    return read_atlas(HOME / "pictures.webp")


def open_noto() -> ImageDataset:
    """Open the data set."""
    return ImageDataset(
        name="emoji",
        captions=tuple((str(record["name"]), *map(str, record["also"])) for record in _records()),
        concepts=tuple(str(record["concept"]) for record in _records()),
        read=lambda i: _pixels()[i],
    )
