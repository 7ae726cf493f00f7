"""Put adapters into the weights of a model, and take them out again: the very tensors that were there come back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.components import Components


def inject(components: Components, worn: Sequence[tuple[Adapter, float]]) -> dict[nn.Module, nn.Parameter]:
    """Add the changes to the weights, in float32, and give what was there. A run then costs what it did without.

    All requests of the model see the change, unlike with `wear`. Raises InputError for a change that does not fit.
    """
    names = dict.fromkeys(name for adapter, _ in worn for name in adapter.deltas)
    layers = layers_of(components, names)
    changed = {name: _changed(module.weight, name, worn) for name, module in layers.items()}
    before: dict[nn.Module, nn.Parameter] = {module: module.weight for module in layers.values()}
    for name, module in layers.items():
        module.weight = nn.Parameter(changed[name], requires_grad=False)
    return before


def eject(before: dict[nn.Module, nn.Parameter]) -> None:
    """Put back what `inject` gave."""
    for module, weight in before.items():
        module.weight = weight


@contextmanager
def injected(components: Components, worn: Sequence[tuple[Adapter, float]]) -> Iterator[None]:
    """Keep adapters in the weights for as long as the block lasts."""
    before = inject(components, worn)
    try:
        yield
    finally:
        eject(before)


def _changed(weight: Tensor, name: str, worn: Sequence[tuple[Adapter, float]]) -> Tensor:
    total = weight.detach().float()
    for adapter, share in worn:
        if name in adapter.deltas:
            total = total + share * adapter.deltas[name].change(weight.detach())
    return total.to(weight.dtype)
