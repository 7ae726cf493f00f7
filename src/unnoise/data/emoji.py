"""The embedded data set: 3,780 emoji at 64 x 64 with alpha, rendered by `scripts/render_emoji.py`."""

import json
import re
from functools import cache
from importlib.resources import files

import numpy as np
from PIL import Image

from unnoise.data.dataset import ImageDataset, PixelArray
from unnoise.errors import InputError

SIZE = 64


@cache
def _records() -> list[dict[str, object]]:
    text = (files("unnoise") / "zoo/emoji/pictures.json").read_text(encoding="utf-8")
    return list(json.loads(text))


@cache
def caption_words() -> frozenset[str]:
    """Return every word of the captions, in lower case."""
    names = (str(name) for r in _records() for name in (r["name"], *r["also"]))  # type: ignore[misc]
    return frozenset(word for name in names for word in re.findall(r"[^\W_]+", name.lower()))


@cache
def _pixels() -> PixelArray:
    """Cut the atlas into images: (N, 64, 64, 4)."""
    with (files("unnoise") / "zoo/emoji/pictures.webp").open("rb") as file:
        atlas = np.asarray(Image.open(file, formats=["WEBP"]).convert("RGBA"))
    rows, columns = atlas.shape[0] // SIZE, atlas.shape[1] // SIZE
    tiles = atlas.reshape(rows, SIZE, columns, SIZE, 4).swapaxes(1, 2).reshape(-1, SIZE, SIZE, 4)
    return tiles[: len(_records())]


def open_emoji(size: int = SIZE) -> ImageDataset:
    """Open the embedded data set. Raises InputError for any size but 64."""
    if size != SIZE:
        raise InputError(f"data.size {size}: the embedded emoji are {SIZE} x {SIZE}")
    records = _records()
    return ImageDataset(
        name="emoji",
        captions=tuple((str(r["name"]), *map(str, r["also"])) for r in records),  # type: ignore[call-overload]
        concepts=tuple(str(r["concept"]) for r in records),
        read=lambda i: _pixels()[i],
    )
