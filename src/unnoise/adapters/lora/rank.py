"""Resize an adapter, or extract one from the difference of two models, by singular value decomposition.

The first r singular values and vectors of a matrix are the nearest matrix of rank r.   Source: Eckart & Young 1936.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.delta import Delta, FullDelta, LowRank
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.adapters.lora.targets import layers
from unnoise.components import Components
from unnoise.errors import InputError, check_whole

ROUNDING = 1e-7  # of a weight's norm: a smaller change is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """An adapter, and its share of the sum of squares of the whole change, 0 to 1."""

    adapter: Adapter
    share: float


def resized(adapter: Adapter, components: Components, rank: int) -> Extraction:
    """Return the nearest LoRA of a rank, 1 to 1024, to an adapter of any kind."""
    layers_ = layers_of(components, adapter.deltas)
    changes = {name: delta.change(layers_[name].weight.cpu()) for name, delta in adapter.deltas.items()}
    norms = {name: FullDelta(change) for name, change in changes.items() if change.ndim < 2}  # have no matrix
    matrices = {name: change for name, change in changes.items() if name not in norms}
    found = _extraction(matrices, rank, replace(adapter, file="", fingerprint=""))
    return replace(found, adapter=replace(found.adapter, deltas={**found.adapter.deltas, **norms}))


def extracted(base: Components, tuned: Components, rank: int, name: str = "extracted") -> Extraction:
    """Return the nearest LoRA of a rank to the difference of two models. Raises InputError if their layers differ."""
    roots, tuned_roots = base.adaptable(), tuned.adaptable()
    changes: dict[str, Tensor] = {}
    for root, net in roots.items():
        tuned_layers = dict(layers(tuned_roots[root])) if root in tuned_roots else {}
        for path, module in layers(net):
            before, other = module.get_parameter("weight"), tuned_layers.get(path)
            after = None if other is None else other.get_parameter("weight")
            if after is None or before.shape != after.shape:
                raise InputError(
                    f"{base.card.name!r} and {tuned.card.name!r}: {root}.{path} is missing in one or of another shape"
                )
            change = after.detach().float() - before.detach().float()
            if float(change.norm()) > ROUNDING * float(before.float().norm()):
                changes[f"{root}.{path}"] = change
    if not changes:
        raise InputError(
            f"{base.card.name!r} and {tuned.card.name!r}: have the same weights in every layer; nothing to extract"
        )
    about = LoraCard(base_from(base.card), training={"extracted from": tuned.card.name, "rank": rank})
    return _extraction(changes, rank, Adapter(name, {}, about=about))


def _extraction(changes: Mapping[str, Tensor], rank: int, adapter: Adapter) -> Extraction:
    check_whole("rank", rank, 1, 1024)
    deltas: dict[str, Delta] = {}
    held = total = 0.0
    for name, change in changes.items():
        deltas[name], share = nearest_low(change, rank)
        size = float(change.square().sum())
        held, total = held + share * size, total + size
    return Extraction(replace(adapter, deltas=deltas), held / total if total else 1.0)


def nearest_low(change: Tensor, rank: int) -> tuple[LowRank, float]:
    """Return the nearest change of a rank, with factors of equal norm, and its share of the sum of squares.

    change: (out, in, *kernel).
    """
    left, values, right = torch.linalg.svd(change.cpu().float().flatten(1), full_matrices=False)
    root = values[:rank].sqrt()
    down = (root[:, None] * right[:rank]).reshape(-1, *change.shape[1:])
    total = float(values.square().sum())
    return LowRank(down, left[:, :rank] * root), float(values[:rank].square().sum()) / total if total else 1.0
