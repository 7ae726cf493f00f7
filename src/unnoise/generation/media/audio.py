"""Sounds as WAV files of 16 bits that carry their recipes in a comment.

Source: IBM and Microsoft 1991, "Multimedia programming interface and data specifications 1.0", WAVE and INFO chunks.
"""

import io
import os
import struct
import wave
from typing import TYPE_CHECKING

import numpy as np

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.generation.metadata import Metadata, from_json, to_json

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".wav",)
FULL = 32767  # the largest number of 16 bits
LONGEST = 1 << 20  # bytes of a comment


def write_sound(path: str | os.PathLike[str], waves: "Tensor", rate: int, recipe: Metadata) -> None:
    """Write waves (channels, n) in [-1, 1] atomically. Raises InputError where they are not finite, or cannot be written.

    rate: samples a second.
    """
    if not bool(waves.isfinite().all()):
        raise InputError(f"{path}: the sound holds NaN or infinity")
    numbers = np.rint(waves.clamp(-1, 1).numpy().T * FULL).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(waves.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(numbers).tobytes())
    whole = out.getvalue() + _comment(to_json(recipe))
    with replacing(path) as target:
        target.write(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])


def read_sound_recipe(path: str | os.PathLike[str]) -> Metadata:
    """Read the recipe of a sound. Raises InputError where the file is none, or has no sound recipe."""
    try:
        with open(path, "rb") as file:
            text = _find(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: not a sound WAV file: {error}") from None
    if not text:
        raise InputError(f"{path}: carries no recipe: it was not made by this program, or its texts were stripped")
    return from_json(text, f"{path}: recipe")


def _comment(text: str) -> bytes:
    body = text.encode() + b"\0"
    body += b"\0" * (len(body) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(body)) + body
    return b"LIST" + struct.pack("<I", len(info)) + info


def _find(file: io.BufferedReader) -> str | None:
    """Walk the chunks of a WAV file to the comment."""
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise ValueError("it does not begin with RIFF and WAVE")
    while len(head := file.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name != b"LIST" or size > LONGEST:
            file.seek(size + size % 2, os.SEEK_CUR)
            continue
        info = file.read(size)
        if info[:8] == b"INFOICMT":
            length = struct.unpack("<I", info[8:12])[0]
            return info[12 : 12 + length].rstrip(b"\0").decode("utf-8")
    return None
