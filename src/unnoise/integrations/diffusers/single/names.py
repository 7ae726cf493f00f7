"""Change the names of makers into those of diffusers by a table, where diffusers has no converter for every width."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unnoise.integrations.diffusers.single.split import Tensors

# A part of a name -> what stands there in diffusers' names; several: the tensor is cut along its first axis.
Table = Mapping[str, str | Sequence[str]]


def renamed(tensors: Tensors, blocks: Mapping[str, str], inner: Table, outer: Mapping[str, str]) -> dict[str, Tensor]:
    """Rename tensors, as views of what they were; a name of no table stays.

    blocks: what numbered blocks are called; inner: names within a block, without ".weight" and ".bias", where the last
    of several names takes what the equal others leave; outer: names outside of blocks.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        number, _, rest = rest.partition(".")
        if kind not in blocks or not number.isdigit():
            found[_outer(name, outer)] = value
            continue
        start = f"{blocks[kind]}.{number}."
        stem, dot, end = rest.rpartition(".")
        new = inner.get(rest, inner.get(f"{kind}:{stem}", inner.get(stem)))
        if isinstance(new, str):
            found[start + (new if rest in inner else f"{new}{dot}{end}")] = value
        elif new is None:
            found[start + rest] = value
        else:
            found |= {f"{start}{one}{dot}{end}": part for one, part in zip(new, _cut(value, new), strict=True)}
    return found


def _outer(name: str, outer: Mapping[str, str]) -> str:
    stem, dot, end = name.rpartition(".")
    return f"{outer[stem]}{dot}{end}" if stem in outer else outer.get(name, name)


def _cut(value: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
    """Cut rows evenly; with a fourth name beside query, key and value, it has 4 of 7 parts, as FLUX's feed-forward."""
    if len(names) < 4:
        return value.chunk(len(names))
    width = value.shape[0] // 7
    return torch.split(value, [width, width, width, value.shape[0] - 3 * width])
