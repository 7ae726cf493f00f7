"""Decode the images of a data set: upright, scaled to cover a size, centre-cropped. It imports no torch."""

import warnings
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps

from unnoise.data.dataset import PixelArray, Size
from unnoise.errors import InputError, InputWarning
from unnoise.formats import pictures

OPAQUE = 255  # alpha
TURNED = (5, 6, 7, 8)  # orientations of EXIF that exchange width and height
LATE = (
    b"eXIf",
    b"Raw profile type",
    b"XML:com.adobe.xmp",
)  # orientations behind the pixels of a PNG
TRANSPARENT = "transparent; the colour behind is data.background, white unless it is set"
SPARE = 2  # a JPEG is decoded at least this much larger than it is used


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """An image, or why there is none.

    Args:
        pixels: (height, width, 3) uint8, or (height, width, 4) with straight alpha; None where it cannot be decoded.
        error: why not.
        remarks: what the decoder says of it.
    """

    pixels: PixelArray | None
    error: str = ""
    remarks: tuple[str, ...] = ()


def decode_image(raw: bytes, size: Size, name: str) -> PixelArray:
    """Decode an image upright, scale it to cover a width and a height, and centre-crop it: (height, width, 4) uint8.

    Raises:
        InputError: the image cannot be decoded.
    """
    return with_alpha(_decoded(raw, size, name))


def _decoded(raw: bytes, size: Size, name: str) -> PixelArray:
    """Decode an image as (height, width, 3) where it is opaque, else as (height, width, 4)."""
    what = f"image {name!r}"
    with pictures.opened(raw, what) as image:
        side = SPARE * max(size)
        image.draft(None, (side, side))  # scales a JPEG by 1/2, 1/4 or 1/8 while it is decoded
        found = pictures.normalised(image, what)
    return np.asarray(found if found.size == size else ImageOps.fit(found, size, Image.Resampling.LANCZOS))


def try_decode(raw: bytes, size: Size, name: str) -> Decoded:
    """Decode an image as `decode_image` does; return what is wrong with it, and what is remarked, as values."""
    what = f"image {name!r}: "
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        try:
            pixels, error = _decoded(raw, size, name), ""
        except InputError as failure:
            pixels, error = None, str(failure).removeprefix(what)
    said = (str(one.message) for one in caught if issubclass(one.category, InputWarning))
    remarks = [line.removeprefix(what) for line in said]
    if pixels is not None and is_transparent(pixels):
        remarks.append(TRANSPARENT)
    return Decoded(pixels, error, tuple(remarks))


def is_transparent(pixels: PixelArray) -> bool:
    """Return whether a pixel of an image is not opaque. pixels: (H, W, 3) or (H, W, 4)."""
    return pixels.shape[2] == 4 and bool(pixels[..., 3].min() < OPAQUE)


def with_alpha(pixels: PixelArray) -> PixelArray:
    """Return pixels (H, W, 4) of an image that is opaque (H, W, 3), or has alpha already."""
    return pixels if pixels.shape[2] == 4 else np.pad(pixels, ((0, 0), (0, 0), (0, 1)), constant_values=OPAQUE)


def upright_size(raw: bytes, name: str) -> Size:
    """Return width and height of an image that is turned upright, from its header. Raises InputError for others."""
    with pictures.opened(raw, f"image {name!r}") as image:
        if image.format == "TIFF" or (image.format == "PNG" and not any(mark in raw for mark in LATE)):
            return image.size  # that of a TIFF is upright as it is opened
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
        return (image.height, image.width) if turned else image.size
