"""Map the tensors of safetensors files into memory: data is read when it is first used."""

import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.header import Entry, read_header
from unnoise.formats.tensors import DTYPES

FLOATS8 = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
STORED = DTYPES | FLOATS8


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """Tensors by name, as views of the mapped files. A write to a tensor stays in memory; the file never changes.

    Args:
        tensors: by name.
        entries: the place of each tensor in its file.
        metadata: of all files together.
        maps: the mapped files.
    """

    tensors: dict[str, Tensor]
    entries: dict[str, Entry]
    metadata: dict[str, str]
    maps: tuple[mmap.mmap, ...]

    def release(self) -> None:
        """Release the memory of data that was read. It is read again when it is next used."""
        for one in self.maps:
            one.madvise(mmap.MADV_DONTNEED)


def map_tensors(paths: Iterable[str | os.PathLike[str]]) -> Mapped:
    """Map all tensors of a model's files. Raises InputError for an invalid file and a tensor that two files have."""
    tensors: dict[str, Tensor] = {}
    entries: dict[str, Entry] = {}
    metadata: dict[str, str] = {}
    maps: list[mmap.mmap] = []
    for path in paths:
        header = read_header(path)
        if twice := tensors.keys() & header.tensors.keys():
            raise InputError(f"{path}: tensor {min(twice)!r} is also in another file of the model")
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), header.size, access=mmap.ACCESS_COPY)
        maps.append(mapped)
        metadata |= header.metadata
        entries |= header.tensors
        tensors |= {name: _view(mapped, entry, f"{path}: tensor {name!r}") for name, entry in header.tensors.items()}
    return Mapped(tensors, entries, metadata, tuple(maps))


def _view(mapped: mmap.mmap, entry: Entry, what: str) -> Tensor:
    if entry.dtype not in STORED:
        raise InputError(f"{what} is {entry.dtype}; supported are {', '.join(STORED)}")
    dtype = STORED[entry.dtype]
    if entry.end == entry.start:
        return torch.empty(entry.shape, dtype=dtype)
    count = (entry.end - entry.start) // dtype.itemsize
    return torch.frombuffer(mapped, dtype=dtype, count=count, offset=entry.start).reshape(entry.shape)
