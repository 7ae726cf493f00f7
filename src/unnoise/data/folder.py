"""A folder of pictures with captions: Hugging Face's `metadata.jsonl`, or a `.txt` file beside each picture."""

import io
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from unnoise.data.dataset import ImageDataset, Pixels
from unnoise.errors import InputError

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
CAPTION_FIELDS = ("text", "caption")  # of metadata.jsonl, the first that is there
KEPT = 8192  # decoded pictures held in memory
LARGEST = 64_000_000  # pixels of a picture that is still opened
UNREADABLE = (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Item:
    """Name a picture, its caption, and a way to its bytes."""

    name: str
    caption: str
    open: Callable[[], BinaryIO]


def open_folder(folder: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a folder, at size x size pixels (scaled to cover, then cut in the middle).

    Captions come from `metadata.jsonl` (lines with `file_name` and `text` or `caption`), or from NAME.txt beside
    NAME.png.
    Raises InputError where captions are missing or there is no picture, and under `strict` for an unreadable picture.
    """
    listed = folder / "metadata.jsonl"
    items = list(_listed(folder, listed) if listed.exists() else _beside(folder))
    return checked(str(folder), items, size, strict)


def checked(name: str, items: Sequence[Item], size: int, strict: bool) -> ImageDataset:
    """Keep the items whose pictures can be read; count the others, or refuse them under `strict`."""
    good: list[Item] = []
    for item in items:
        try:
            with item.open() as file, Image.open(file) as image:
                _bounded(image).draft("RGB", (size, size))  # a JPEG is decoded at a size not much above this
                image.load()  # `verify` looks at the checksums of PNG and at nothing of other formats
            good.append(item)
        except UNREADABLE as error:
            if strict:
                raise InputError(
                    f"picture {item.name!r} cannot be read: {error}; without strict it is skipped"
                ) from error
    if not good:
        raise InputError(f"data.source {name!r}: no picture that can be read among {len(items)}")

    @lru_cache(maxsize=KEPT)
    def read(i: int) -> Pixels:
        with good[i].open() as file:
            return decoded(file, size, good[i].name)

    captions = tuple((item.caption,) for item in good)
    return ImageDataset(name, captions, tuple(item.name for item in good), read, len(items) - len(good))


def decoded(file: BinaryIO, size: int, name: str) -> Pixels:
    """Decode a picture upright, scale it to cover size x size, cut its middle: (size, size, 4) uint8.

    Raises InputError where it cannot be decoded.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(file.read())) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            upright = ImageOps.exif_transpose(_bounded(image)).convert("RGBA")
    except (*UNREADABLE, Image.DecompressionBombWarning) as error:
        raise InputError(f"picture {name!r} cannot be read: {error}") from error
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))


def _bounded(image: Image.Image) -> Image.Image:
    if image.width * image.height > LARGEST:
        raise ValueError(f"{image.width} x {image.height} pixels, at most {LARGEST} are opened")
    return image


def _listed(folder: Path, listed: Path) -> Iterator[Item]:
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{listed}:{number}"
        try:
            row = json.loads(line)
            name = str(row["file_name"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{where}: a JSON object with file_name is needed ({error})") from error
        caption = next((row[field] for field in CAPTION_FIELDS if row.get(field)), None)
        if not isinstance(caption, str):
            raise InputError(f"{where}: no caption: one of {', '.join(CAPTION_FIELDS)} is needed")
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InputError(f"{where}: file_name {name!r} lies outside the folder")
        yield Item(name, caption, lambda path=path: path.open("rb"))  # type: ignore[misc]


def _beside(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in ENDINGS:
            continue
        words = path.with_suffix(".txt")
        if not words.exists():
            raise InputError(f"picture {str(path)!r} has no caption: write {words.name} beside it, or metadata.jsonl")
        caption = words.read_text(encoding="utf-8").strip()
        yield Item(str(path.relative_to(folder)), caption, lambda path=path: path.open("rb"))  # type: ignore[misc]
