"""Read and check the header of a safetensors file without reading its tensors.

Layout: 8 bytes N (little endian), N bytes of JSON `{name: {dtype, shape, data_offsets}, "__metadata__": {...}}`, then
the tensors, end to end.   Source: https://github.com/safetensors/safetensors, README "Format".
"""

import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from unnoise.errors import InputError, quoted
from unnoise.formats.content import described
from unnoise.formats.open_file import open_file

HEAD = 64  # bytes by which other kinds of files are told
LONGEST = 16 << 20  # bytes; the format allows 100 MB, which needs gigabytes to parse
TENSORS = 32_768  # in a file; the largest published models have about 7,000
VALUES = 1_000_000  # JSON values in a header; the limit bounds the memory of parsing it
RANK = 32
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
    "C64": 64,
}  # Source: safetensors 0.8, src/tensor.rs, enum Dtype  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """Describe one tensor: bytes `start` to `end` of the file are `shape` of `dtype`, row by row."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """Describe a file of tensors: its metadata by key, its tensors by name, its size in bytes."""

    metadata: dict[str, str]
    tensors: dict[str, Entry]
    size: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a safetensors file.

    The header must be one JSON object of limited length without repeated keys. The tensors must fill the rest of the
    file without gaps or overlaps. Raises InputError if the file cannot be read or violates the format.
    """
    try:
        with open_file(path) as file:
            raw, size = _head(file)
        return _parse(raw, size)
    except _HeaderFault as fault:
        raise InputError(f"{path}: {fault}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


class _HeaderFault(Exception):
    pass


def _fault(what: str) -> NoReturn:
    raise _HeaderFault(f"not a valid safetensors file: {what}")


def _head(file: BinaryIO) -> tuple[bytes, int]:
    size = os.fstat(file.fileno()).st_size
    head = file.read(HEAD)
    if size < 10:
        _fault(f"{size} bytes are too few for a header")
    length = int.from_bytes(head[:8], "little")
    if length > size - 8:
        if words := described(head):
            _fault(f"it is {words}")
        _fault(f"its header declares {length} bytes, the file has {size - 8} after the first eight")
    if length > LONGEST:
        _fault(f"its header is {length} bytes long, at most {LONGEST} are read")
    file.seek(8)
    raw = file.read(length)
    if not raw.startswith(b"{"):
        _fault("its header does not start with '{'")
    if (count := raw.count(b'"data_offsets"')) > TENSORS:
        _fault(f"its header lists {count} tensors, at most {TENSORS} are read")
    if sum(raw.count(mark) for mark in (b",", b":", b"[", b"{")) > VALUES:
        _fault(f"its header contains more than {VALUES} values")
    return raw, size


def _parse(raw: bytes, size: int) -> Header:
    try:
        content = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        _fault("its header is nested too deeply")
    except ValueError as error:
        _fault(f"its header is not JSON: {error}")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _fault("its __metadata__ is not an object of strings")
    tensors = {name: _entry(name, value, 8 + len(raw), size) for name, value in content.items()}
    _fill(tensors, 8 + len(raw), size)
    return Header(metadata, tensors, size)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        _fault(f"its header lists {quoted(repeated)} twice")
    return table


def _no_constant(name: str) -> NoReturn:
    _fault(f"its header contains {name}")


def _entry(name: str, value: object, base: int, size: int) -> Entry:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        _fault(f"tensor {quoted(name)} must have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        _fault(f"tensor {quoted(name)} has the unknown dtype {quoted(dtype)}")
    if not _counts(shape) or len(shape) > RANK:
        _fault(f"tensor {quoted(name)} has the impossible shape {quoted(shape)}")
    if not _counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size - base:
        _fault(f"tensor {quoted(name)} is at {quoted(offsets)}, outside the {size - base} bytes of data")
    bits = BITS[dtype]
    for length in shape:
        bits *= length
    if bits != 8 * (offsets[1] - offsets[0]):
        _fault(f"tensor {quoted(name)} of {dtype} {quoted(shape)} does not fit {offsets[1] - offsets[0]} bytes")
    return Entry(dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _fill(tensors: dict[str, Entry], base: int, size: int) -> None:
    at = base
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != at:
            _fault(f"tensor {quoted(name)} {'overlaps another' if entry.start < at else 'leaves a gap before it'}")
        at = entry.end
    if at != size:
        _fault(f"{size - at} bytes after the last tensor belong to no tensor")
