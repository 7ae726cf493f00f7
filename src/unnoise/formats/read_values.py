"""Read the first numbers of some tensors of a safetensors file."""

import os
import struct
from collections.abc import Iterable, Mapping
from math import prod

from unnoise.errors import InputError
from unnoise.formats.header import BITS, Entry
from unnoise.formats.open_file import open_file

MOST = 4096  # numbers of one tensor
FORMATS = {
    "F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b",
    "U64": "Q", "U32": "I", "U16": "H", "U8": "B", "BOOL": "?",
}  # fmt: skip


def read_values(
    path: str | os.PathLike[str], tensors: Mapping[str, Entry], names: Iterable[str], most: int = MOST
) -> dict[str, tuple[float, ...]]:
    """Read the first `most` numbers, at most MOST, of each named tensor.

    A tensor that is not in `tensors`, or whose dtype is complex or narrower than 8 bits, is left out.
    Raises InputError if the file cannot be read or ends too early.
    """
    ordered = sorted({name for name in names if name in tensors}, key=lambda name: tensors[name].start)
    found: dict[str, tuple[float, ...]] = {}
    try:
        with open_file(path) as file:
            for name in ordered:
                entry = tensors[name]
                count = min(prod(entry.shape), most, MOST)
                if entry.dtype in FORMATS or entry.dtype == "BF16":
                    file.seek(entry.start)
                    found[name] = _numbers(file.read(count * BITS[entry.dtype] // 8), entry.dtype, count)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except struct.error:
        raise InputError(f"{path}: ends before the numbers that its header declares") from None
    return found


def _numbers(raw: bytes, dtype: str, count: int) -> tuple[float, ...]:
    if dtype == "BF16":  # the upper half of a float32
        halves = struct.unpack(f"<{count}H", raw)
        return struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(half << 16 for half in halves)))
    return tuple(float(number) for number in struct.unpack(f"<{count}{FORMATS[dtype]}", raw))
