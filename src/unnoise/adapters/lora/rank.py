"""Adapters of another rank: taken from the difference of two models, or from an adapter, by singular values.

The best matrix of rank r is the first r singular values and vectors of a matrix.   Source: Eckart & Young 1936.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.delta import Delta, LowRank
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.adapters.lora.targets import layers
from unnoise.components import Components
from unnoise.errors import InputError, check_whole

NOTHING = 1e-7  # of a weight's norm: a change below that is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """An adapter, and the share of the whole change that it holds, by the sum of squares, 0 ... 1."""

    adapter: Adapter
    share: float


def resized(adapter: Adapter, components: Components, rank: int) -> Extraction:
    """Give the nearest LoRA of a rank, 1 ... 1024, also of LoHa, LoKr, DoRA and differences."""
    held = layers_of(components, adapter.deltas)
    changes = {name: delta.change(held[name].weight) for name, delta in adapter.deltas.items()}
    return _found(changes, rank, replace(adapter, file="", fingerprint=""))


def extracted(base: Components, tuned: Components, rank: int, name: str = "extracted") -> Extraction:
    """Give the nearest LoRA of a rank to what makes one model of another. Raises InputError where their layers differ."""
    roots, others = base.adaptable(), tuned.adaptable()
    changes: dict[str, Tensor] = {}
    for root, net in roots.items():
        theirs = dict(layers(others[root])) if root in others else {}
        for path, module in layers(net):
            before, after = (None if one is None else one.get_parameter("weight") for one in (module, theirs.get(path)))
            if before is None or after is None or before.shape != after.shape:
                raise InputError(
                    f"{base.card.name!r} and {tuned.card.name!r}: {root}.{path} is not in both, of one shape"
                )
            change = after.detach().float() - before.detach().float()
            if float(change.norm()) > NOTHING * float(before.float().norm()):
                changes[f"{root}.{path}"] = change
    if not changes:
        raise InputError(f"{base.card.name!r} and {tuned.card.name!r}: have the same weights in every layer")
    about = LoraCard(base_from(base.card), training={"extracted from": tuned.card.name, "rank": rank})
    return _found(changes, rank, Adapter(name, {}, about=about))


def _found(changes: Mapping[str, Tensor], rank: int, adapter: Adapter) -> Extraction:
    check_whole("rank", rank, 1, 1024)
    deltas: dict[str, Delta] = {}
    kept = total = 0.0
    for name, change in changes.items():
        deltas[name], share = nearest_low(change, rank)
        size = float(change.square().sum())
        kept, total = kept + share * size, total + size
    return Extraction(replace(adapter, deltas=deltas), kept / total if total else 1.0)


def nearest_low(change: Tensor, rank: int) -> tuple[LowRank, float]:
    """Give the nearest change of a rank, both factors equally large, and its share of the sum of squares.

    change: (out, in, *kernel).
    """
    left, values, right = torch.linalg.svd(change.float().flatten(1), full_matrices=False)
    root = values[:rank].sqrt()
    down = (root[:, None] * right[:rank]).reshape(-1, *change.shape[1:])
    total = float(values.square().sum())
    return LowRank(down, left[:, :rank] * root), float(values[:rank].square().sum()) / total if total else 1.0
