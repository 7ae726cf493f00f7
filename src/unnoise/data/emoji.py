"""The emoji data set: six styles of the same things at 64 x 64 with alpha, rendered by `scripts/render_emoji.py`.

It is a part of the repository and not of the installed package: `data/emoji`.
"""

import json
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from unnoise.data.dataset import ImageDataset, PixelArray
from unnoise.errors import InputError

SIZE: Final = 64
HOME: Final = Path(__file__).parents[3] / "data/emoji"


@cache
def _records() -> tuple[dict[str, Any], ...]:
    path = HOME / "records.json"
    if not path.exists():
        raise InputError(f"data.source 'emoji': its images are in the repository, and {str(HOME)!r} does not exist")
    return tuple(json.loads(path.read_text(encoding="utf-8")))


@cache
def _pixels() -> PixelArray:
    return read_atlas(HOME / "images.webp")


def read_atlas(path: Traversable) -> PixelArray:
    """Cut an atlas of images into them, row by row: (N, 64, 64, 4)."""
    with path.open("rb") as file:
        atlas = np.asarray(Image.open(file, formats=["WEBP"]).convert("RGBA"))
    rows, columns = atlas.shape[0] // SIZE, atlas.shape[1] // SIZE
    return atlas.reshape(rows, SIZE, columns, SIZE, 4).swapaxes(1, 2).reshape(-1, SIZE, SIZE, 4)


def open_emoji(size: int = SIZE) -> ImageDataset:
    """Open the data set. Raises InputError for any size but 64, and where the repository is not at hand."""
    if size != SIZE:
        raise InputError(f"data.size {size}: the emoji are {SIZE} x {SIZE}")
    every = [(at, style, record) for record in _records() for style, at in record["styles"].items()]
    every.sort(key=lambda entry: entry[0])
    records = [record for _, _, record in every]
    return ImageDataset(
        name="emoji",
        captions=tuple((str(record["name"]),) for record in records),
        concepts=tuple(str(record["subject"]) for record in records),
        read=lambda i: _pixels()[i],
        keywords=tuple(tuple(record["keywords"]) for record in records),
        styles=tuple(style for _, style, _ in every),
    )
