"""Images as files that carry metadata: PNG, WebP without loss, JPEG; and images that people give."""

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, PngImagePlugin

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.generation.metadata import Metadata, to_json

KEY = "unnoise"  # keyword of the text chunk of a PNG with metadata, of one sample or of those on a sheet
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
QUALITY = 95  # of a JPEG
PIXELS = 16_000_000  # of an image that is opened
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
LONGEST = 1 << 20  # letters of a text chunk that Pillow reads, PngImagePlugin.MAX_TEXT_CHUNK
LONGEST_COMMENT = 65_533  # bytes of a comment of a JPEG


def write_image(path: str | os.PathLike[str], image: Image.Image, metadata: Metadata | Sequence[Metadata]) -> None:
    """Write an image with its metadata, or with that of the samples on a sheet, atomically.

    Args:
        path: ends in one of SUFFIXES.
        image: the image.
        metadata: of a sample, or of several.

    Raises:
        InputError: the ending is another, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: images are written as {', '.join(SUFFIXES)}")
    content = encode(image, metadata, suffix)
    with replacing(path) as file:
        file.write(content)


def encode(image: Image.Image, metadata: Metadata | Sequence[Metadata], suffix: str = ".png") -> bytes:
    """Encode an image; equal images and metadata give equal bytes. A sheet of too many samples has no metadata."""
    if isinstance(metadata, Metadata):
        text = to_json(metadata)
    else:
        text = f"[{', '.join(map(to_json, metadata))}]"
        text = text if len(text) < (LONGEST_COMMENT if suffix.startswith(".j") else LONGEST) else "[]"
    out = BytesIO()
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text(KEY, text, zip=len(text) > 4096)
        image.save(out, "PNG", pnginfo=info, compress_level=6)
    elif suffix == ".webp":
        image.save(out, "WEBP", lossless=True, xmp=text.encode())
    else:
        if len(text) > LONGEST_COMMENT:
            raise InputError(f"metadata of {len(text)} letters: a JPEG takes {LONGEST_COMMENT}; write a .png")
        image.convert("RGB").save(out, "JPEG", quality=QUALITY, comment=text.encode())
    return out.getvalue()


def read_text(path: str | os.PathLike[str]) -> str | None:
    """Read the metadata of an image as text, None where it has none. Raises what Pillow does."""
    with Image.open(path, formats=["PNG", "WEBP", "JPEG"]) as image:
        found = image.info.get(KEY) or image.info.get("xmp") or image.info.get("comment")
    return found.decode("utf-8") if isinstance(found, bytes) else found


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open an image, upright and in colour, over white where it is transparent.

    Raises:
        InputError: it cannot be read, or has more than PIXELS pixels, which its header says before it is decoded.
    """
    upright = _opened(path, "image").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


def open_mask(path: str | os.PathLike[str]) -> Image.Image:
    """Open a mask as it is. Raises InputError as `open_image` does."""
    return _opened(path, "mask")


def _opened(path: str | os.PathLike[str], what: str) -> Image.Image:
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as found:
            if found.width * found.height > PIXELS:
                raise InputError(f"{what} {path}: {found.width}x{found.height} pixels, at most {PIXELS} in all")
            return ImageOps.exif_transpose(found)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{what} {path}: at most {PIXELS} pixels in all: {error}") from None
    except (ValueError, SyntaxError, OSError) as error:
        raise InputError(f"{what} {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
