"""Write and read the tensors of a safetensors file one at a time, so that no second copy of them is ever held."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.formats.header import Entry, Header

DTYPES = {
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
    """Write tensors in the order of their names, atomically. The bytes depend on nothing but the arguments.

    Raises InputError where the file cannot be written, or a dtype is none of DTYPES.
    """
    names = sorted(tensors)
    table: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in NAMES:
            raise InputError(f"tensor {name!r} is {tensor.dtype}, files hold {', '.join(DTYPES)}")
        end = at + tensor.numel() * tensor.element_size()
        table[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with replacing(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            file.write(raw(tensors[name]))


def read_tensors(path: str | os.PathLike[str], header: Header) -> Iterator[tuple[str, Tensor]]:
    """Give each tensor of a file, in the order of their names, as it is stored and on the CPU.

    A tensor is valid until the next is asked for: it shares one buffer with it.
    Raises InputError where the file cannot be read, has become shorter than its header said, or holds a foreign dtype.
    """
    longest = max((entry.end - entry.start for entry in header.tensors.values()), default=0)
    buffer = bytearray(longest)
    try:
        with open(path, "rb", buffering=0) as file:
            for name, entry in sorted(header.tensors.items()):
                if entry.dtype not in DTYPES:
                    raise InputError(f"{path}: tensor {name!r} is {entry.dtype}, known: {', '.join(DTYPES)}")
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
    """Give the bytes of a tensor, row by row, in the order of this machine, which for torch is little endian."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


class Fingerprint:
    """Hash weights as they lie in a file: sha256 over name, dtype, shape and bytes of each, in the order of names."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, name: str, tensor: Tensor) -> None:
        """Take in one more tensor."""
        self._hash.update(f"{name}\0{NAMES[tensor.dtype]}\0{list(tensor.shape)}\0".encode())
        self._hash.update(raw(tensor))

    def hex(self) -> str:
        """Give the sum of what was taken in."""
        return self._hash.hexdigest()


def _tensor(view: memoryview, entry: Entry) -> Tensor:
    if not len(view):
        return torch.empty(entry.shape, dtype=DTYPES[entry.dtype])
    return torch.frombuffer(view, dtype=DTYPES[entry.dtype]).reshape(entry.shape)
