"""Map the tensors of files of weights into memory: data is read when it is first used."""

import mmap
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.header import Entry, Header, read_header
from unnoise.formats.open_file import open_file
from unnoise.formats.tensors import DTYPES


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
        one = map_entries(path, read_header(path))
        if twice := tensors.keys() & one.tensors.keys():
            raise InputError(f"{path}: tensor {min(twice)!r} is also in another file of the model")
        tensors |= one.tensors
        entries |= one.entries
        metadata |= one.metadata
        maps.extend(one.maps)
    return Mapped(tensors, entries, metadata, tuple(maps))


def map_entries(
    path: str | os.PathLike[str], header: Header, as_bytes: Callable[[Entry], bool] = lambda _: False
) -> Mapped:
    """Map the tensors of one file. as_bytes: of which tensors only the bytes are wanted, in one row."""
    with open_file(path) as file:
        mapped = mmap.mmap(file.fileno(), header.size, access=mmap.ACCESS_COPY)
    tensors = {}
    for name, entry in header.tensors.items():
        raw = as_bytes(entry)
        if not raw and entry.dtype not in DTYPES:
            raise InputError(f"{path}: tensor {name!r} is {entry.dtype}; supported are {', '.join(DTYPES)}")
        shape = (entry.end - entry.start,) if raw else entry.shape
        tensors[name] = _view(mapped, entry, torch.uint8 if raw else DTYPES[entry.dtype], shape)
    return Mapped(tensors, header.tensors, header.metadata, (mapped,))


def _view(mapped: mmap.mmap, entry: Entry, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if entry.end == entry.start:
        return torch.empty(shape, dtype=dtype)
    count = (entry.end - entry.start) // dtype.itemsize
    return torch.frombuffer(mapped, dtype=dtype, count=count, offset=entry.start).reshape(shape)
