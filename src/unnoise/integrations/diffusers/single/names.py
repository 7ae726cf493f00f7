"""Rename tensors from the original layouts to that of diffusers by the tables of adapters, at any width."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from unnoise.adapters.lora.layouts import Table
from unnoise.integrations.diffusers.single.split import Tensors

BLOCK = re.compile(r"(\w+)\.(\d+)\.(.+)")


def renamed(tensors: Tensors, table: Table) -> dict[str, Tensor]:
    """Rename tensors, as views of the originals. A name that is not in the table stays.

    table: original names with {} for the number of a block, whole or without the last part (".weight"). A tensor with
    several new names is split along its first axis.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        stem, dot, end = name.rpartition(".")
        new = _lookup(name, table) or [f"{one}{dot}{end}" for one in _lookup(stem, table)] or [name]
        found |= dict(zip(new, _split(value, new), strict=True))
    return found


def _lookup(name: str, table: Table) -> list[str]:
    if name in table:
        return list(table[name])
    match = BLOCK.fullmatch(name)
    targets = table.get(f"{match[1]}.{{}}.{match[3]}", ()) if match else ()
    return [target.format(match[2]) for target in targets] if match else []


def _split(value: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
    """Split rows evenly; a fourth part beside query, key and value has 4 of 7 shares, as the feed-forward of FLUX."""
    if len(names) < 4:
        return value.chunk(len(names))
    width = value.shape[0] // 7
    return torch.split(value, [width, width, width, value.shape[0] - 3 * width])
