"""Files of tensors that are split among processes: each writes and reads its own rows of one safetensors file.

The rows of a process are one range of the bytes of a tensor, so the file is the same for any number of processes, also
for one. It is written without pickle, unlike that of torch.distributed.checkpoint, whose metadata is a pickle.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.formats.atomic import refusing_writes, replacing
from unnoise.formats.header import read_header
from unnoise.formats.tensors import dump_header, raw
from unnoise.train.processes import World


def is_split(tensor: Tensor) -> bool:
    """Return whether a process has some rows of a tensor only: a DTensor, whose module is slow to import."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> Tensor:
    """Return a tensor that is split among processes as one; all processes call it."""
    gathered: Tensor = tensor.full_tensor() if is_split(tensor) else tensor
    return gathered


def own_rows(rows: int, rank: int, size: int) -> range:
    """Return the rows of a process, of a tensor that is split as by `torch.chunk`."""
    each = -(-rows // size)
    return range(min(rank * each, rows), min((rank + 1) * each, rows))


def own_part(tensor: Any, like: Any) -> Tensor:
    """Return the rows of a tensor that this process has of `like`, or all where `like` is not split."""
    if is_split(like) and not is_split(tensor):
        rows = own_rows(len(like), like.device_mesh.get_local_rank(), like.device_mesh.size())
        part: Tensor = tensor[rows.start : rows.stop]
    else:
        part = tensor.to_local() if is_split(like) else tensor
    return part


def write_split(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str], world: World) -> None:
    """Write tensors and facts of process 0 by all processes; an interruption leaves the old file or the new one."""
    if world.rank:
        part = world.same(str)
        with refusing_writes(path):
            _write_rows(Path(part), tensors, world)
        world.barrier()
    else:
        with replacing(path) as file:
            file.truncate(dump_header(file, tensors, facts))
            file.flush()
            world.same(lambda: file.name)
            _write_rows(Path(file.name), tensors, world)
            world.barrier()
    world.barrier()  # the file has its name


def _write_rows(part: Path, tensors: Mapping[str, Tensor], world: World) -> None:
    """Write the rows of this process to a file that has its header and its size, and what is not split by the first."""
    places = read_header(part).tensors
    with part.open("r+b") as file:
        for name, tensor in tensors.items():
            own: Any = tensor
            if is_split(tensor):
                row = (places[name].end - places[name].start) // max(len(tensor), 1)
                file.seek(places[name].start + row * own_rows(len(tensor), world.rank, world.size).start)
                file.write(raw(own.to_local()))
            elif world.rank == 0:
                file.seek(places[name].start)
                file.write(raw(tensor))
        file.flush()
        os.fsync(file.fileno())


def read_like(file: Any, name: str, like: Tensor) -> Tensor:
    """Read a tensor of an open file (`safe_open`): the rows of this process, where `like` is split.

    Raises:
        RuntimeError: it is split, and has another shape in the file.
        SafetensorError: it is not in the file.
    """
    if not is_split(like):
        whole: Tensor = file.get_tensor(name)
        return whole
    stored, own = file.get_slice(name), torch.empty_like(like)
    if tuple(stored.get_shape()) != tuple(like.shape):
        raise RuntimeError(f"{name} has shape {stored.get_shape()}, not {list(like.shape)}")
    part = own_part(own, like)
    if len(part):
        part.copy_(own_part(stored, like))
    return own
