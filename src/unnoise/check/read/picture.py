"""Read the metadata of images, and masks. Pixels are decoded for masks only.

Metadata are text chunks of PNG, or the EXIF comment of JPEG and WebP. ComfyUI: `prompt`, `workflow`; AUTOMATIC1111 and
its forks, SwarmUI and Fooocus: `parameters`; InvokeAI: `invokeai_metadata`; this program: `unnoise`.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from unnoise.check.subject import Location, Mask, ReadFault, Subject, Trouble
from unnoise.errors import InputError, InputWarning
from unnoise.formats.json_text import json_value

LONGEST = 4 << 20  # characters of metadata
PIXELS = 1 << 24  # of a mask; the largest takes a third of a second and 150 MB
HEADER_PIXELS = 1 << 30  # of an image that is not decoded
EXIF, COMMENT = 0x8769, 0x9286  # tags of the part with the comment, and of the comment; Source: EXIF 2.32
SOFT = (5, 250)  # of 255: values between are soft
CELL = 8  # pixels of a mask along a side of one latent


def read_picture(path: str) -> Subject:
    """Read the metadata of an image; a fault if it has none, or is broken."""
    from unnoise.formats import pictures

    try:
        with pictures.opened(path, path, HEADER_PIXELS) as image:
            texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
            texts |= _of_exif(image.getexif())
    except InputError as error:
        return _fault(path, "broken", f"is not a valid image: {str(error).removeprefix(f'{path}: ')[:200]}")
    return _of_texts({key: text[:LONGEST] for key, text in texts.items()}, path)


def _fault(path: str, kind: Trouble, message: str) -> Subject:
    return Subject(path=path, faults=(ReadFault(kind, Location(path), message),))


def _of_exif(exif: Any) -> dict[str, str]:
    """Read the comment of AUTOMATIC1111, and ComfyUI's entries in WebP: "prompt:{...}" and "workflow:{...}"."""
    found = {}
    comment = (exif.get_ifd(EXIF).get(COMMENT) or exif.get(COMMENT)) if exif else None  # Fooocus: beside that part
    if isinstance(comment, bytes):
        found["parameters"] = _decoded(comment)
    elif isinstance(comment, str):
        found["parameters"] = comment
    for value in list(exif.values()) if exif else ():
        name, colon, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
        if colon and name.lower() in ("prompt", "workflow") and rest.lstrip().startswith("{"):
            found[name.lower()] = rest
    return found


def _decoded(comment: bytes) -> str:
    """Decode a comment by its first eight bytes; in UTF-16 the zeros of ASCII letters show the byte order."""
    head, body = comment[:8], comment[8 : LONGEST * 2]
    if head.startswith(b"UNICODE"):
        order = "utf-16-be" if body[0::2].count(0) > body[1::2].count(0) or body[:2] == b"\xfe\xff" else "utf-16-le"
        return body.decode(order, errors="replace").lstrip("\ufeff")
    plain = body if head.startswith(b"ASCII") else comment
    return plain.decode("utf-8", errors="replace").strip("\0")


def _of_texts(texts: Mapping[str, str], path: str) -> Subject:
    if "unnoise" in texts:
        from unnoise.check.read.recipe import read_recipe

        return read_recipe(texts["unnoise"], path)
    for key in ("prompt", "workflow", "parameters"):
        content = _object(texts.get(key))
        if content is not None:
            return read_generation(content, path)
    metadata = _object(texts.get("invokeai_metadata")) or _object(texts.get("sd-metadata"))
    if metadata is not None:
        from unnoise.check.read.invokeai import read_metadata

        return read_metadata(metadata, path)
    if "parameters" in texts:
        from unnoise.check.read.infotext import read_infotext

        return read_infotext(texts["parameters"], path)
    return _fault(path, "unknown", "is an image without generation metadata")


def read_generation(content: dict[str, Any], path: str, source: str = "") -> Subject:
    """Read an object of JSON that describes a generation: of Fooocus, SwarmUI or ComfyUI.

    Args:
        content: the object
        path: of the file
        source: its text, which fixes may change
    """
    from unnoise.check.read import fooocus, swarmui

    if swarmui.PARAMETERS in content:
        return swarmui.read_metadata(content, path)
    if fooocus.is_record(content):
        return fooocus.read_record(content, path)
    from unnoise.check.read.comfyui import read_workflow

    return read_workflow(content, path, source)


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        content = json_value(text, strict=False) if text else None
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_size(path: str) -> tuple[int, int] | None:
    """Read width and height of an image from its header; None where it cannot be read."""
    from unnoise.formats import pictures

    try:
        with pictures.opened(path, path, HEADER_PIXELS) as image:
            return image.size
    except InputError:
        return None


def read_mask(path: str) -> Mask | None:
    """Describe the pixels of a mask; None where it cannot be read, or is larger than PIXELS.

    The mask is reduced as in diffusers: by nearest neighbour, with pixel (8 i, 8 j) for cell (i, j).
    Source: diffusers, pipeline_stable_diffusion_inpaint.py, prepare_mask_latents.
    """
    from unnoise.formats import pictures

    try:
        with warnings.catch_warnings(action="ignore", category=InputWarning):
            grey = pictures.decode(path, path, PIXELS).convert("L")
    except InputError:
        return None
    if grey.width < CELL or grey.height < CELL:
        return None
    histogram = grey.histogram()
    total = grey.width * grey.height
    values = [value for value, count in enumerate(histogram) if count]
    cells, lost = _cells(grey)
    return Mask(
        place=Location(path),
        size=grey.size,
        low=values[0] / 255,
        high=values[-1] / 255,
        soft=sum(histogram[SOFT[0] : SOFT[1] + 1]) / total,
        ones=sum(histogram[128:]) / total,
        cells=cells,
        lost=lost,
    )


def _cells(grey: Any) -> tuple[int, int]:
    """Count the cells with a painted pixel, and those of them whose first pixel is not painted."""
    from PIL import Image

    whole = grey.point(lambda value: 255 if value > 127 else 0)
    wide, high = whole.width // CELL, whole.height // CELL
    whole = whole.crop((0, 0, wide * CELL, high * CELL))
    first = 0.5 - CELL / 2  # from the middle of a cell, where Pillow samples, to its first pixel
    corners = whole.transform((wide, high), Image.Transform.AFFINE, (CELL, 0, first, 0, CELL, first))
    filled = whole.reduce(CELL)  # one pixel of 64 leaves 4 of 255
    painted = sum(filled.histogram()[1:])
    kept = sum(corners.histogram()[128:])
    return painted, max(painted - kept, 0)
