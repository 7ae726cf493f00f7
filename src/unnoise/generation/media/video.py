"""Films as files that carry their recipes: animated PNG and WebP without loss, MP4 through PyAV."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.generation.media.image import KEY
from unnoise.generation.metadata import Metadata, from_json, to_json

SUFFIXES = (".webp", ".png", ".mp4")
PIP = "pip install 'unnoise[video]'"
CRF = "16"  # of x264: losses that are not seen
HEAD = 1 << 20  # frames a second are kept as a fraction of at most this denominator


def write_film(path: str | os.PathLike[str], frames: Sequence[Image.Image], fps: float, recipe: Metadata) -> None:
    """Write a film atomically, by the ending of its name. Raises InputError where it cannot be written."""
    suffix = Path(path).suffix.lower()
    out = io.BytesIO()
    first, *others = frames
    how = {"save_all": True, "append_images": others, "duration": 1000 / fps, "loop": 0}
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text(KEY, to_json(recipe))
        first.save(out, "PNG", pnginfo=info, default_image=False, **how)
    elif suffix == ".webp":
        first.save(out, "WEBP", lossless=True, xmp=to_json(recipe).encode(), **how)
    elif suffix == ".mp4":
        _mp4(out, frames, fps, recipe)
    else:
        raise InputError(f"{path}: films are written as {', '.join(SUFFIXES)}")
    with replacing(path) as file:
        file.write(out.getbuffer())


def read_film_recipe(path: str | os.PathLike[str]) -> Metadata:
    """Read the recipe of a film. Raises InputError where the file is none, or has no sound recipe."""
    try:
        text = _mp4_comment(path) if Path(path).suffix.lower() == ".mp4" else _text(path)
    except (ValueError, SyntaxError, OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a sound film: {getattr(error, 'strerror', None) or error}") from None
    if not text:
        raise InputError(f"{path}: carries no recipe: it was not made by this program, or its texts were stripped")
    return from_json(text, f"{path}: recipe")


def has_pyav() -> bool:
    """Say whether MP4 can be written here."""
    from importlib.util import find_spec

    return find_spec("av") is not None


def _text(path: str | os.PathLike[str]) -> str | None:
    with Image.open(path, formats=["PNG", "WEBP"]) as image:
        found = image.info.get(KEY) or image.info.get("xmp")
    return found.decode("utf-8") if isinstance(found, bytes) else found


def _mp4(out: io.BytesIO, frames: Sequence[Image.Image], fps: float, recipe: Metadata) -> None:
    av = _pyav()
    width, height = frames[0].size
    if width % 2 or height % 2:
        raise InputError(f"film of {width}x{height}: .mp4 takes even sides only; .webp takes any")
    with av.open(out, "w", format="mp4") as container:
        container.metadata["comment"] = to_json(recipe)
        stream = container.add_stream("h264", rate=Fraction(fps).limit_denominator(HEAD))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": CRF, "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame.convert("RGB")), format="rgb24")))
        container.mux(stream.encode())


def _mp4_comment(path: str | os.PathLike[str]) -> str | None:
    av = _pyav()
    with av.open(os.fspath(path)) as container:
        found: str | None = container.metadata.get("comment")
    return found


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise InputError(f"films as .mp4 need PyAV: {PIP}; .webp and .png need nothing more") from None
    return av
