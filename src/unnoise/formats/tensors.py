"""Write and read the tensors of a safetensors file one at a time, without a second copy of them in memory."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing, sweep
from unnoise.formats.header import Entry, Header
from unnoise.formats.open_file import open_file

FLOATS8 = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
DTYPES = FLOATS8 | {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors atomically, in the order of their names. The bytes depend only on the arguments.

    Raises InputError if the file cannot be written or a dtype is not supported.
    """
    header = _header(tensors, metadata)
    sweep(Path(path))
    with replacing(path) as file:
        _write(file, header, tensors)


def dump_tensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to an open file. Raises InputError if a dtype is not supported."""
    _write(file, _header(tensors, metadata), tensors)


def dump_header(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Write the header of tensors to an open file, and return the size of the whole file.

    Raises InputError if a dtype is not supported.
    """
    header = _header(tensors, metadata)
    file.write(len(header).to_bytes(8, "little") + header)
    return 8 + len(header) + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _write(file: BinaryIO, header: bytes, tensors: Mapping[str, Tensor]) -> None:
    file.write(len(header).to_bytes(8, "little") + header)
    for name in sorted(tensors):
        file.write(raw(tensors[name]))


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    table: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype not in NAMES:
            raise InputError(f"tensor {name!r} is {tensor.dtype}, supported are {', '.join(DTYPES)}")
        end = at + tensor.numel() * tensor.element_size()
        table[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    header = json.dumps(table, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)


def read_tensors(path: str | os.PathLike[str], header: Header) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of a file in the order of names, in its stored dtype on the CPU.

    All tensors share one buffer: a tensor is valid until the next one is read.
    Raises InputError if the file cannot be read, ends too early, or has an unsupported dtype.
    """
    longest = max((entry.end - entry.start for entry in header.tensors.values()), default=0)
    buffer = bytearray(longest)
    try:
        with open_file(path) as file:
            for name, entry in sorted(header.tensors.items()):
                if entry.dtype not in DTYPES:
                    raise InputError(f"{path}: tensor {name!r} is {entry.dtype}; supported are {', '.join(DTYPES)}")
                size = entry.end - entry.start
                view = memoryview(buffer)[:size]
                file.seek(entry.start)
                filled = 0
                while filled < size and (got := file.readinto(view[filled:])):
                    filled += got
                if filled < size:
                    raise InputError(f"{path}: ends within tensor {name!r}")
                yield name, _tensor(view, entry)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def raw(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor, row by row, in the byte order of this machine, which is little endian."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


class Fingerprint:
    """Compute the sha256 of weights: over name, dtype, shape and bytes of each tensor, in the order of names."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, tensor: Tensor) -> None:
        """Add a tensor."""
        self._hash.update(f"{name}\0{NAMES[tensor.dtype]}\0{list(tensor.shape)}\0".encode())
        self._hash.update(raw(tensor))

    def hex(self) -> str:
        """Return the hash in hexadecimal."""
        return self._hash.hexdigest()


def _tensor(view: memoryview, entry: Entry) -> Tensor:
    if not len(view):
        return torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    return torch.frombuffer(view, dtype=DTYPES[entry.dtype]).reshape(entry.shape)
