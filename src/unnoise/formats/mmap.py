"""Tensors of safetensors files as they lie on the disk, mapped into memory: nothing is read before it is used."""

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
    """Tensors by name, and the maps that they are views of. A write to one stays in memory, the file is never changed.

    metadata: the free text of the files; entries: where each tensor lies.
    """

    tensors: dict[str, Tensor]
    entries: dict[str, Entry]
    metadata: dict[str, str]
    maps: tuple[mmap.mmap, ...]

    def release(self) -> None:
        """Give back the memory of what was read; what is used again is read again."""
        for one in self.maps:
            one.madvise(mmap.MADV_DONTNEED)


def map_tensors(paths: Iterable[str | os.PathLike[str]]) -> Mapped:
    """Map all tensors of one model's files. Raises InputError for an unsound file and a tensor that two files hold."""
    tensors: dict[str, Tensor] = {}
    entries: dict[str, Entry] = {}
    metadata: dict[str, str] = {}
    maps: list[mmap.mmap] = []
    for path in paths:
        header = read_header(path)
        if twice := tensors.keys() & header.tensors.keys():
            raise InputError(f"{path}: tensor {min(twice)!r} is in another file of the model too")
        with open(path, "rb") as file:
            whole = mmap.mmap(file.fileno(), header.size, access=mmap.ACCESS_COPY)
        maps.append(whole)
        metadata |= header.metadata
        entries |= header.tensors
        tensors |= {name: _view(whole, entry, f"{path}: tensor {name!r}") for name, entry in header.tensors.items()}
    return Mapped(tensors, entries, metadata, tuple(maps))


def _view(whole: mmap.mmap, entry: Entry, what: str) -> Tensor:
    if entry.dtype not in STORED:
        raise InputError(f"{what} is {entry.dtype}, known: {', '.join(STORED)}")
    dtype = STORED[entry.dtype]
    if entry.end == entry.start:
        return torch.empty(entry.shape, dtype=dtype)
    count = (entry.end - entry.start) // dtype.itemsize
    return torch.frombuffer(whole, dtype=dtype, count=count, offset=entry.start).reshape(entry.shape)
