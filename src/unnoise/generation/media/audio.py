"""Audio as WAV files of 16 bits that carry metadata in a comment.

Source: IBM and Microsoft 1991, "Multimedia programming interface and data specifications 1.0", WAVE and INFO chunks.
"""

import io
import os
import struct
import wave
from pathlib import Path

import numpy as np
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import open_file
from unnoise.generation.metadata import Metadata, to_json

SUFFIXES = (".wav",)
FULL = 32767  # the largest number of 16 bits
LONGEST = 1 << 20  # bytes of a comment


def write_audio(path: str | os.PathLike[str], waves: Tensor, rate: int, metadata: Metadata) -> None:
    """Write waves (channels, n) in [-1, 1] atomically, `rate` samples a second.

    Raises:
        InputError: the waves are not finite, or the file cannot be written.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: audio is written as {', '.join(SUFFIXES)}")
    if not bool(waves.isfinite().all()):
        raise InputError(f"{path}: the audio contains NaN or infinity")
    numbers = np.rint(waves.clamp(-1, 1).numpy().T * FULL).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(waves.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(numbers).tobytes())
    whole = out.getvalue() + _comment(to_json(metadata))
    with replacing(path) as target:
        target.write(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])


def read_text(path: str | os.PathLike[str]) -> str | None:
    """Read the metadata of a .wav as text, None where it has none. Raises ValueError where it is no WAV file."""
    with open_file(path) as file:
        try:
            return _find(file)
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from None


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
