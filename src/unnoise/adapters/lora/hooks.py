"""Wear adapters for as long as a request lasts: every changed layer adds their branches to its answer.

    y = W·x + b + sum over k of weight_k·scale_k·B_k·(A_k·x)

The weights that other requests use are not touched: hooks add the branches, and only to calls that were made within
`on()`, of the same thread or task. Rows of one call may wear different amounts, see `Dressed`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.adapters.lora.delta import LowRank
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_ON: ContextVar["tuple[ActiveAdapters, Tensor | None] | None"] = ContextVar("worn", default=None)


class ActiveAdapters:
    """Adapters with their weights, ready to be worn by a model."""

    def __init__(self, components: Components, worn: Sequence[tuple[Adapter, float]]) -> None:
        names = dict.fromkeys(name for adapter, _ in worn for name in adapter.deltas)
        self._layers = {
            module: _Branch(module, [(adapter.deltas.get(name), weight) for adapter, weight in worn])
            for name, module in layers_of(components, names).items()
        }

    @contextmanager
    def on(self) -> Iterator[None]:
        """Wear them: what is called within, and in this thread or task, is changed."""
        token = _ON.set((self, None))
        with ExitStack() as hooks:
            for module, branch in self._layers.items():
                hooks.callback(module.register_forward_hook(self._hook(branch)).remove)
            try:
                yield
            finally:
                _ON.reset(token)

    def _hook(self, branch: "_Branch") -> Any:
        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            now = _ON.get()
            return branch(module, inputs[0], output, now[1]) if now is not None and now[0] is self else None

        return add


class PerSampleLora(nn.Module):
    """A net whose rows wear different amounts: adapter k counts cond.adapter_scales[row, k] times in a row.

    Call it within the wardrobe's `on()`. Without cond.adapter_scales every row wears them as the wardrobe says.
    """

    def __init__(self, net: nn.Module, wardrobe: ActiveAdapters) -> None:
        super().__init__()
        self.net, self.wardrobe = net, wardrobe

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask the net, each row with its own amounts."""
        token = _ON.set((self.wardrobe, cond.adapter_scales))
        try:
            out: Tensor = self.net(x, time, replace(cond, adapter_scales=None))
        finally:
            _ON.reset(token)
        return out


class _Branch:
    """What all adapters add to one layer: those of low rank side by side as one, the others as whole differences."""

    def __init__(self, module: Any, parts: Sequence[tuple[Any, float]]) -> None:
        weight: Tensor = module.weight
        slim = isinstance(module, nn.Linear) or getattr(module, "groups", 1) == 1
        low = [(k, d, w) for k, (d, w) in enumerate(parts) if isinstance(d, LowRank) and slim]
        self.wide = [
            (k, (w * d.change(weight)).to(weight)) for k, (d, w) in enumerate(parts)
            if d is not None and not (isinstance(d, LowRank) and slim)
        ]  # fmt: skip
        self.owners = [k for k, d, _ in low for _ in range(d.rank)]
        self.down = self.up = None
        if low:
            shape = weight.shape[1:]
            self.down = torch.cat([d.down.reshape(d.rank, *shape) for _, d, _ in low]).to(weight)
            self.up = torch.cat([d.up * (d.scale * w) for _, d, w in low], 1).to(weight)

    def __call__(self, module: Any, x: Tensor, output: Tensor, rows: Tensor | None) -> Tensor:
        x = x.to(output.dtype)
        if self.down is not None and self.up is not None:
            inner = applied(module, x, self.down.to(output.dtype))
            if rows is not None:
                inner = inner * _spread(rows[:, self.owners], inner, module)
            output = _added(module, output, inner, self.up.to(output.dtype))
        for k, difference in self.wide:
            more = applied(module, x, difference.to(output.dtype))
            output = output + (more if rows is None else more * _spread(rows[:, k : k + 1], more, module))
        return output


def applied(module: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Do with a weight what a layer does with its own, without its bias."""
    if isinstance(module, nn.Linear):
        return F.linear(x, weight)
    if module.padding_mode != "zeros":
        raise InputError(f"a convolution that pads with {module.padding_mode!r}: merge the adapter instead")
    return CONV[x.ndim - 2](x, weight, None, module.stride, module.padding, module.dilation, module.groups)


def _added(module: Any, output: Tensor, inner: Tensor, up: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        # Not in place: a layer may keep its answer for the next step.
        flat = torch.addmm(output.flatten(0, -2), inner.flatten(0, -2), up.T)
        return flat.view(output.shape)
    return output + raised(inner, up)


def raised(inner: Tensor, up: Tensor) -> Tensor:
    """Go from a convolution's rank to its channels, pixel by pixel. inner: (B, rank, *d); up: (channels, rank)."""
    return CONV[inner.ndim - 2](inner, up.to(inner.dtype).reshape(*up.shape, *[1] * (inner.ndim - 2)))


def _spread(rows: Tensor, inner: Tensor, module: Any) -> Tensor:
    """Shape what each row wears, (B, channels), like what a layer makes, which may have n rows for one of the batch."""
    if len(inner) % len(rows):
        raise InputError(f"adapters of {len(rows)} rows, in a layer that is called with {len(inner)}")
    rows = rows.to(inner.dtype).repeat_interleave(len(inner) // len(rows), 0)
    if isinstance(module, nn.Linear):
        return rows.reshape(len(rows), *[1] * (inner.ndim - 2), -1)
    return rows.reshape(len(rows), -1, *[1] * (inner.ndim - 2))
