"""Merge adapters into the weights of a model, and restore the original tensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.components import Components


def inject(components: Components, adapters: Sequence[tuple[Adapter, float]]) -> dict[nn.Module, nn.Parameter]:
    """Add the changes of adapters to the weights, in float32, and return the original parameters.

    A run then costs as much as without adapters. Every request uses the changed weights, unlike with `ActiveAdapters`.
    Raises InputError for a change that does not fit.
    """
    names = dict.fromkeys(name for adapter, _ in adapters for name in adapter.deltas)
    layers = layers_of(components, names)
    changed = {name: _changed(module.weight, name, adapters) for name, module in layers.items()}
    before: dict[nn.Module, nn.Parameter] = {module: module.weight for module in layers.values()}
    for name, module in layers.items():
        module.weight = nn.Parameter(changed[name], requires_grad=False)
    return before


def eject(before: dict[nn.Module, nn.Parameter]) -> None:
    """Restore the parameters that `inject` returned."""
    for module, weight in before.items():
        module.weight = weight


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
            total = total + scale * adapter.deltas[name].change(weight.detach())
    return total.to(weight.dtype)
