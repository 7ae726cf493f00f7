"""Merge adapters into the weights of a model, and restore the original tensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.adapters.lora.delta import on_device
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.components import Components

Parameters = dict[tuple[nn.Module, str], nn.Parameter | None]  # by layer and name, "weight" or "bias"


def inject(components: Components, adapters: Sequence[tuple[Adapter, float]]) -> Parameters:
    """Add the changes of adapters to weights and biases, in float32, and return the original parameters.

    A run then costs as much as without adapters. Every request uses the changed weights, unlike with `ActiveAdapters`.
    Raises InputError for a change that does not fit.
    """
    names = dict.fromkeys(name for adapter, _ in adapters for name in (*adapter.deltas, *adapter.biases))
    layers = layers_of(components, names)
    changed: dict[tuple[nn.Module, str], Tensor] = {}
    for name, module in layers.items():
        if any(name in adapter.deltas for adapter, _ in adapters):
            changed[module, "weight"] = _changed(module.weight, name, adapters)
        if any(name in adapter.biases for adapter, _ in adapters):
            changed[module, "bias"] = _changed_bias(module, name, adapters)
    before: Parameters = {(module, part): getattr(module, part) for module, part in changed}
    for (module, part), value in changed.items():
        setattr(module, part, nn.Parameter(value, requires_grad=False))
    return before


def eject(before: Parameters) -> None:
    """Restore the parameters that `inject` returned."""
    for (module, part), parameter in before.items():
        setattr(module, part, parameter)


@contextmanager
def injected(components: Components, adapters: Sequence[tuple[Adapter, float]]) -> Iterator[None]:
    """Merge adapters into the weights within the block."""
    before = inject(components, adapters)
    try:
        yield
    finally:
        eject(before)


def _changed(weight: Tensor, name: str, adapters: Sequence[tuple[Adapter, float]]) -> Tensor:
    total = weight.detach().float()
    for adapter, scale in adapters:
        if name in adapter.deltas:
            total = total + scale * on_device(adapter.deltas[name], weight.device).change(weight.detach())
    return total.to(weight.dtype)


def _changed_bias(module: Any, name: str, adapters: Sequence[tuple[Adapter, float]]) -> Tensor:
    """Return the bias plus its changes; a layer without a bias has one of zeros."""
    weight: Tensor = module.weight
    total = torch.zeros(len(weight), device=weight.device) if module.bias is None else module.bias.detach().float()
    for adapter, scale in adapters:
        if name in adapter.biases:
            total = total + scale * adapter.biases[name].to(total)
    return total.to(weight.dtype)
