"""Pictures as PNG files that carry their recipes."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, PngImagePlugin

from unnoise.errors import Refusal
from unnoise.files.atomic import replacing
from unnoise.files.recipe import Recipe, from_json, to_json

KEY = "unnoise"  # keyword of the text chunk that holds a recipe, or a list of them in a sheet

LONGEST = 1 << 20  # letters of a text chunk: what Pillow reads, PngImagePlugin.MAX_TEXT_CHUNK


def write_picture(path: str | os.PathLike[str], image: Image.Image, recipes: Recipe | Sequence[Recipe]) -> None:
    """Write a PNG that carries its recipe, or those of the pictures on a sheet, atomically.

    Raises Refusal where the file cannot be written.
    """
    with replacing(path) as file:
        file.write(png(image, recipes))


def png(image: Image.Image, recipes: Recipe | Sequence[Recipe]) -> bytes:
    """Encode a picture; equal pictures and recipes give equal bytes. A sheet too large for its recipes has none."""
    if isinstance(recipes, Recipe):
        text = to_json(recipes)
    else:
        text = f"[{', '.join(to_json(one) for one in recipes)}]"
        text = text if len(text) < LONGEST else "[]"
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, text, zip=len(text) > 4096)
    out = BytesIO()
    image.save(out, "PNG", pnginfo=info, compress_level=6)
    return out.getvalue()


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read the recipe of a picture. Raises Refusal where the file is no PNG, or has no recipe, or not a sound one."""
    if Path(path).exists() and not Path(path).is_file():
        raise Refusal(f"{path}: cannot be read: it is not a file")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            text = image.info.get(KEY)
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refusal(f"{path}: not a sound PNG picture: {error}") from None
    except OSError as error:
        raise Refusal(f"{path}: cannot be read as a PNG picture: {error.strerror or error}") from None
    if not isinstance(text, str):
        raise Refusal(f"{path}: carries no recipe: it was not made by this program, or its texts were stripped")
    if text.startswith("["):
        raise Refusal(f"{path}: is a sheet of several pictures; replay the pictures themselves")
    return from_json(text, f"{path}: recipe")
