"""Read and check the header of a GGUF file without reading its tensors.

Layout, little endian: "GGUF", version (4 bytes), number of tensors and of keys (8 each); for each key its name, type
and value; for each tensor its name, rank, sides (the innermost first), type and offset; then the tensors, from the next
multiple of the alignment.
Source: ggml-org/ggml, docs/gguf.md; llama.cpp, gguf-py/gguf/constants.py
"""

import io
import os
import struct
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from unnoise.errors import InputError
from unnoise.formats.header import TENSORS, Entry, Header, read_header
from unnoise.formats.open_file import open_file

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEYS = 10_000
RANK = 4
LONGEST = 1 << 20  # bytes of a string; a chat template has about 10,000
ITEMS = 500_000  # strings in all arrays together, which are skipped one by one; the largest tokenizers have 260,000
DEPTH = 4
ALIGNMENT = 32
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
TEXT, ARRAY = 8, 9
# Name, numbers in a block, bytes of a block
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
}  # fmt: skip
SHAPE = "comfy.gguf.orig_shape."  # the shape of a tensor that is stored flat; Source: city96/ComfyUI-GGUF


class _GgufFault(Exception):
    pass


@dataclass(slots=True)
class _Reader:
    """Read a file from front to back, and check every length against the bytes that are left."""

    file: io.BufferedReader
    size: int
    items: int = 0

    def take(self, count: int) -> bytes:
        if count > self.size - self.file.tell():
            _fault(f"it ends at byte {self.size}, within its header")
        return self.file.read(count)

    def number(self, format: str) -> int | float:
        value: int | float = struct.unpack(format, self.take(struct.calcsize(format)))[0]
        return value

    def integer(self, format: str = "<Q") -> int:
        return int(self.number(format))

    def text(self, keep: bool = True) -> str:
        length = self.integer()
        if length > self.size - self.file.tell() or (keep and length > LONGEST):
            _fault(f"it contains a string of {length} bytes, at most {LONGEST} are read")
        if not keep:
            self.file.seek(length, os.SEEK_CUR)
            return ""
        return self.take(length).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> str:
        """Read a value as a string; of a long array only its length."""
        if kind in SCALARS:
            return str(self.number(SCALARS[kind]))
        if kind == TEXT:
            return self.text()
        if kind != ARRAY or depth >= DEPTH:
            _fault(f"it contains a value of the unknown type {kind}")
        return self._array(depth)

    def _array(self, depth: int) -> str:
        kind, length = self.integer("<I"), self.integer()
        if kind in SCALARS:
            width = struct.calcsize(SCALARS[kind])
            if length <= 16:
                return ", ".join(str(self.number(SCALARS[kind])) for _ in range(length))
            if length > (self.size - self.file.tell()) // width:
                _fault(f"it contains an array of {length} values, longer than the file")
            self.file.seek(length * width, os.SEEK_CUR)
            return f"[{length} numbers]"
        self.items += length
        if self.items > ITEMS:
            _fault(f"its arrays contain more than {ITEMS} strings")
        for _ in range(length):
            if kind == TEXT:
                self.text(keep=False)
            else:
                self.value(kind, depth + 1)
        return f"[{length} values]"


def read_gguf(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a GGUF file: metadata as strings, shapes with the outermost side first.

    Raises InputError if the file cannot be read or violates the format.
    """
    try:
        with open_file(path) as file:
            return _read(_Reader(file, os.fstat(file.fileno()).st_size))
    except _GgufFault as fault:
        raise InputError(f"{path}: not a valid GGUF file: {fault}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_weights_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of a GGUF or safetensors file, told apart by the first bytes. Raises InputError as they do."""
    return read_gguf(path) if is_gguf(path) else read_header(path)


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Return whether a file starts as GGUF does; False if it cannot be read."""
    try:
        with open_file(path) as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, InputError):
        return False


def _fault(what: str) -> NoReturn:
    raise _GgufFault(what)


def _read(reader: _Reader) -> Header:
    if reader.take(4) != MAGIC:
        _fault("it does not start with 'GGUF'")
    version = reader.integer("<I")
    if version not in VERSIONS:
        _fault(f"version {version}; versions {VERSIONS[0]} and {VERSIONS[1]} are supported")
    count, keys = reader.integer(), reader.integer()
    if count > TENSORS or keys > KEYS:
        _fault(f"it declares {count} tensors and {keys} keys, at most {TENSORS} and {KEYS} are read")
    metadata: dict[str, str] = {}
    for _ in range(keys):
        name = reader.text()
        metadata[name] = reader.value(reader.integer("<I"))
    found = [_tensor(reader) for _ in range(count)]
    alignment = metadata.get("general.alignment", str(ALIGNMENT))
    step = int(alignment) if alignment.isdecimal() and len(alignment) < 7 else 0
    if step < 1:
        _fault(f"its alignment is {alignment[:20]!r}")
    base = -(-reader.file.tell() // step) * step
    tensors: dict[str, Entry] = {}
    for name, dtype, shape, start, length in found:
        if name in tensors:
            _fault(f"it lists the tensor {name[:80]!r} twice")
        if base + start + length > reader.size:
            _fault(f"it has {reader.size} bytes, the tensor {name[:80]!r} ends at byte {base + start + length}")
        tensors[name] = Entry(dtype, _stored(name, shape, metadata), base + start, base + start + length)
    return Header(metadata, tensors, reader.size)


def _tensor(reader: _Reader) -> tuple[str, str, tuple[int, ...], int, int]:
    name = reader.text()
    rank = reader.integer("<I")
    if rank > RANK:
        _fault(f"the tensor {name[:80]!r} has rank {rank}, at most {RANK} is allowed")
    sides = tuple(reader.integer() for _ in range(rank))
    kind, start = reader.integer("<I"), reader.integer()
    if kind not in TYPES:
        _fault(f"the tensor {name[:80]!r} has the unknown type {kind}")
    dtype, block, size = TYPES[kind]
    if sides and sides[0] % block:
        _fault(f"the tensor {name[:80]!r} of {dtype} is {sides[0]} wide, not a multiple of {block}")
    return name, dtype, sides[::-1], start, prod(sides) // block * size


def _stored(name: str, shape: tuple[int, ...], metadata: dict[str, str]) -> tuple[int, ...]:
    sides = metadata.get(SHAPE + name, "").split(", ")
    if not all(side.isdecimal() and len(side) < 10 for side in sides) or len(sides) > 32:
        return shape
    original = tuple(int(side) for side in sides)
    return original if prod(original) == prod(shape) else shape
