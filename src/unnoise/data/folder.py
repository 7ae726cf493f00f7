"""A folder of images with captions: Hugging Face's `metadata.jsonl`, or a `.txt` file beside each image."""

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

from unnoise.data.dataset import ImageDataset, PixelArray
from unnoise.errors import InputError

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
CAPTION_FIELDS = ("text", "caption")  # of metadata.jsonl; the first that is present is used
CACHED = 8192  # decoded images in memory
LARGEST = 64_000_000  # pixels of an image
UNREADABLE = (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True, slots=True)
class Item:
    """An image file: its name, its caption, and a function that opens its bytes."""

    name: str
    caption: str
    open: Callable[[], BinaryIO]


def open_folder(folder: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a folder of images.

    Captions are read from `metadata.jsonl` (lines with `file_name` and `text` or `caption`), or from NAME.txt beside
    NAME.png.

    Args:
        size: side in pixels; images are scaled to cover the square and centre-cropped.
        strict: refuse unreadable images instead of skipping them.

    Raises:
        InputError: a caption is missing, there is no image, or (strict) an image is unreadable.
    """
    metadata = folder / "metadata.jsonl"
    items = list(_metadata_items(folder, metadata) if metadata.exists() else _text_file_items(folder))
    return readable_dataset(str(folder), items, size, strict)


def readable_dataset(name: str, items: Sequence[Item], size: int, strict: bool) -> ImageDataset:
    """Make a data set of the readable images; count the others, or refuse them (strict)."""
    good: list[Item] = []
    for item in items:
        try:
            with item.open() as file, Image.open(file) as image:
                _check_area(image).draft("RGB", (size, size))  # decodes a JPEG at a size close to this
                image.load()  # `verify` checks PNG checksums and nothing in other formats
            good.append(item)
        except UNREADABLE as error:
            if strict:
                raise InputError(
                    f"image {item.name!r} cannot be read: {error}; replace it, or leave out strict to skip it"
                ) from error
    if not good:
        raise InputError(f"data.source {name!r}: none of its {len(items)} images can be read")

    @lru_cache(maxsize=CACHED)
    def read(i: int) -> PixelArray:
        with good[i].open() as file:
            return decode_image(file, size, good[i].name)

    captions = tuple((item.caption,) for item in good)
    return ImageDataset(name, captions, tuple(item.name for item in good), read, len(items) - len(good))


def decode_image(file: BinaryIO, size: int, name: str) -> PixelArray:
    """Decode an image upright, scale it to cover size x size, and centre-crop it: (size, size, 4) uint8.

    Raises:
        InputError: the image cannot be decoded.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(file.read())) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            upright = ImageOps.exif_transpose(_check_area(image)).convert("RGBA")
    except (*UNREADABLE, Image.DecompressionBombWarning) as error:
        raise InputError(f"image {name!r} cannot be read: {error}") from error
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))


def _check_area(image: Image.Image) -> Image.Image:
    if image.width * image.height > LARGEST:
        raise ValueError(f"{image.width} x {image.height} pixels: at most {LARGEST}")
    return image


def _metadata_items(folder: Path, metadata: Path) -> Iterator[Item]:
    for number, line in enumerate(metadata.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{metadata}:{number}"
        try:
            row = json.loads(line)
            name = str(row["file_name"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{where}: not a JSON object with file_name ({error})") from error
        caption = next((row[field] for field in CAPTION_FIELDS if row.get(field)), None)
        if not isinstance(caption, str):
            raise InputError(f"{where}: no caption: set {' or '.join(CAPTION_FIELDS)}")
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InputError(f"{where}: file_name {name!r} lies outside the folder")
        yield Item(name, caption, lambda path=path: path.open("rb"))  # type: ignore[misc]


def _text_file_items(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in ENDINGS:
            continue
        text = path.with_suffix(".txt")
        if not text.exists():
            raise InputError(f"image {str(path)!r} has no caption: add {text.name} beside it, or a metadata.jsonl")
        caption = text.read_text(encoding="utf-8").strip()
        yield Item(str(path.relative_to(folder)), caption, lambda path=path: path.open("rb"))  # type: ignore[misc]
