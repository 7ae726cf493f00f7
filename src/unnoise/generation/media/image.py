"""Pictures as PNG files that carry their recipes."""

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, PngImagePlugin

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.generation.metadata import Metadata, from_json, to_json

KEY = "unnoise"  # keyword of the text chunk that holds a recipe, or a list of them in a sheet

PIXELS = 16_000_000  # of a picture that is opened to be changed
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
LONGEST = 1 << 20  # letters of a text chunk: what Pillow reads, PngImagePlugin.MAX_TEXT_CHUNK


def write_picture(path: str | os.PathLike[str], image: Image.Image, recipes: Metadata | Sequence[Metadata]) -> None:
    """Write a PNG that carries its recipe, or those of the pictures on a sheet, atomically.

    Raises InputError where the file cannot be written.
    """
    with replacing(path) as file:
        file.write(png(image, recipes))


def png(image: Image.Image, recipes: Metadata | Sequence[Metadata]) -> bytes:
    """Encode a picture; equal pictures and recipes give equal bytes. A sheet too large for its recipes has none."""
    if isinstance(recipes, Metadata):
        text = to_json(recipes)
    else:
        text = f"[{', '.join(to_json(one) for one in recipes)}]"
        text = text if len(text) < LONGEST else "[]"
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, text, zip=len(text) > 4096)
    out = BytesIO()
    image.save(out, "PNG", pnginfo=info, compress_level=6)
    return out.getvalue()


def read_recipe(path: str | os.PathLike[str]) -> Metadata:
    """Read the recipe of a picture. Raises InputError where the file is no PNG, or has no recipe, or not a sound one."""
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: cannot be read: it is not a file")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            text = image.info.get(KEY)
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a sound PNG picture: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a PNG picture: {error.strerror or error}") from None
    if not isinstance(text, str):
        raise InputError(f"{path}: carries no recipe: it was not made by this program, or its texts were stripped")
    if text.startswith("["):
        raise InputError(f"{path}: is a sheet of several pictures; replay the pictures themselves")
    return from_json(text, f"{path}: recipe")


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open a picture that a user made, upright and in colour, over white where it is transparent.

    Raises InputError where it cannot be read, and above PIXELS, which its header says before anything is decoded.
    """
    upright = _opened(path, "image").convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright).convert("RGB")


def open_mask(path: str | os.PathLike[str]) -> Image.Image:
    """Open a picture that says what to keep, as it is: white keeps, black paints. Raises as `open_image` does."""
    return _opened(path, "mask")


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bring a picture to a size, by the mean of what it covers or, for more, by Lanczos's filter."""
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def inverted(mask: Image.Image) -> Image.Image:
    """Turn a mask whose white is painted into one whose white is kept. Raises InputError for one with transparency."""
    if mask.has_transparency_data:
        raise InputError(f"mask of mode {mask.mode}: 8 bits without transparency; with keep_outside, white paints")
    return ImageOps.invert(mask.convert("L"))


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
