"""Videos as files that carry metadata: animated PNG and WebP without loss, MP4 through PyAV."""

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
from unnoise.generation.metadata import Metadata, to_json

SUFFIXES = (".webp", ".png", ".mp4")
PIP = "pip install 'unnoise[video]'"
CRF = "16"  # of x264: losses below what is visible
HEAD = 1 << 20  # largest denominator of the frame rate


def write_video(path: str | os.PathLike[str], frames: Sequence[Image.Image], fps: float, metadata: Metadata) -> None:
    """Write a video atomically, by the ending of its name. Raises InputError where it cannot be written."""
    suffix = Path(path).suffix.lower()
    out = io.BytesIO()
    first, *others = frames
    how = {"save_all": True, "append_images": others, "duration": 1000 / fps, "loop": 0}
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text(KEY, to_json(metadata))
        first.save(out, "PNG", pnginfo=info, default_image=False, **how)
    elif suffix == ".webp":
        first.save(out, "WEBP", lossless=True, xmp=to_json(metadata).encode(), **how)
    elif suffix == ".mp4":
        _mp4(out, frames, fps, metadata)
    else:
        raise InputError(f"{path}: videos are written as {', '.join(SUFFIXES)}")
    with replacing(path) as file:
        file.write(out.getbuffer())


def read_text(path: str | os.PathLike[str]) -> str | None:
    """Read the metadata of an .mp4 as text, None where it has none. Raises what PyAV does."""
    av = _pyav()
    with av.open(os.fspath(path)) as container:
        found: str | None = container.metadata.get("comment")
    return found


def has_pyav() -> bool:
    """Whether MP4 can be written here."""
    from importlib.util import find_spec

    return find_spec("av") is not None


def _mp4(out: io.BytesIO, frames: Sequence[Image.Image], fps: float, metadata: Metadata) -> None:
    av = _pyav()
    width, height = frames[0].size
    if width % 2 or height % 2:
        raise InputError(f"video of {width}x{height}: .mp4 takes even sides only; write a .webp")
    with av.open(out, "w", format="mp4") as container:
        container.metadata["comment"] = to_json(metadata)
        stream = container.add_stream("h264", rate=Fraction(fps).limit_denominator(HEAD))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": CRF, "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame.convert("RGB")), format="rgb24")))
        container.mux(stream.encode())


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise InputError(f"videos as .mp4 need PyAV: {PIP}; .webp and .png need no extra") from None
    return av
