"""Images as files that carry metadata: PNG, WebP without loss, JPEG."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, PngImagePlugin

from unnoise.errors import InputError
from unnoise.formats import pictures
from unnoise.formats.atomic import replacing
from unnoise.generation.metadata import Metadata, to_json

KEY = "unnoise"  # keyword of the text chunk of a PNG with metadata, of one sample or of those on a sheet
SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
QUALITY = 95  # of a JPEG
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
        image.save(out, "WEBP", lossless=True, exact=True, xmp=text.encode())
    else:
        if len(text) > LONGEST_COMMENT:
            raise InputError(f"metadata of {len(text)} letters: a JPEG takes {LONGEST_COMMENT}; write a .png")
        pictures.over_white(image).convert("RGB").save(out, "JPEG", quality=QUALITY, comment=text.encode())
    return out.getvalue()


def read_text(path: str | os.PathLike[str]) -> str | None:
    """Read the metadata of an image as text, None where it has none. Raises InputError for what is no image."""
    with pictures.opened(path, str(path)) as image:
        found = image.info.get(KEY) or image.info.get("xmp") or image.info.get("comment")
        return found.decode("utf-8") if isinstance(found, bytes) else found
