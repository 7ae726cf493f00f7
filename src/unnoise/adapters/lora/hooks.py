"""Apply adapters while a network runs: hooks add their branches to the outputs of layers.

    y = W·x + b + sum over k of scale_k·(alpha_k/rank_k)·B_k·(A_k·x)

The weights, which other requests use at the same time, are not changed. The hooks act only on calls within `on()`, in
the same thread or task; a compiled network runs eagerly there. The rows of one call can have scales of their own, see
`PerSampleLora`.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.adapters.lora.delta import LowRank, on_device
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.adapters.lora.targets import CONVS, is_norm
from unnoise.adapters.uncompiled import uncompiled
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning, same_inputs
from unnoise.errors import InputError

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_ACTIVE: ContextVar["tuple[ActiveAdapters, Tensor | None] | None"] = ContextVar("active_adapters", default=None)


class ActiveAdapters:
    """Adapters with their scales, ready to be applied to the networks of a model.

    Args:
        components: the model. Its weights stay as they are.
        adapters: each adapter with its scale.
    """

    def __init__(self, components: Components, adapters: Sequence[tuple[Adapter, float]]) -> None:
        self.count = len(adapters)
        names = dict.fromkeys(name for adapter, _ in adapters for name in (*adapter.deltas, *adapter.biases))
        self._branches = {
            module: _Branch(
                module,
                [(adapter.deltas.get(name), scale) for adapter, scale in adapters],
                [(adapter.biases.get(name), scale) for adapter, scale in adapters],
            )
            for name, module in layers_of(components, names).items()
        }
        self._hooks: list[Any] = []
        self._users, self._lock = 0, Lock()

    @contextmanager
    def on(self, row_scales: Tensor | None = None) -> Iterator[None]:
        """Apply the adapters to all calls within the block, in this thread or task.

        Hooks are registered by the first block and removed by the last, so a nested block costs next to nothing.

        Args:
            row_scales: (B, K), factors of the scale of each adapter in each row of a call; None is 1.

        Raises:
            InputError: row_scales does not have one column for each adapter.
        """
        if row_scales is not None and row_scales.shape[1:] != (self.count,):
            raise InputError(
                f"adapter_scales {tuple(row_scales.shape)}: (B, {self.count}), one for each row and adapter"
            )
        self._register()
        token = _ACTIVE.set((self, row_scales))
        try:
            with uncompiled():
                yield
        finally:
            _ACTIVE.reset(token)
            self._release()

    def _register(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._hooks = [layer.register_forward_hook(self._hook(one)) for layer, one in self._branches.items()]

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for hook in self._hooks:
                    hook.remove()

    def _hook(self, branch: "_Branch") -> Any:
        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            active = _ACTIVE.get()
            if active is None or active[0] is not self:
                return None
            return branch(module, inputs[0], output, active[1])

        return add


@contextmanager
def selected_rows(index: Tensor | slice) -> Iterator[None]:
    """Restrict the adapter scales to some rows, for a network that runs the rows of a batch in several calls.

    Args:
        index: the rows of the calls within the block, as an index of the first axis.
    """
    active = _ACTIVE.get()
    if active is None or active[1] is None:
        yield
        return
    token = _ACTIVE.set((active[0], active[1][index]))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


class PerSampleLora(nn.Module):
    """A network that applies adapters with scales of their own to each row of a batch.

    Row b applies adapter k cond.adapter_scales[b, k] times its own scale; without cond.adapter_scales, its own scale.
    A row whose scales are 0 gives the output of the network without adapters, up to rounding.
    """

    def __init__(self, net: nn.Module, active: ActiveAdapters) -> None:
        super().__init__()
        self.net, self.active = net, active
        same_inputs(self, net)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, *d) in the native frame; time: (B,)."""
        with self.active.on(cond.adapter_scales):
            out: Tensor = self.net(x, time, replace(cond, adapter_scales=None))
        return out


class _Branch:
    """What all adapters add to one layer: those of low rank joined into one, the others as full differences, biases."""

    def __init__(
        self, module: Any, deltas: Sequence[tuple[Any, float]], biases: Sequence[tuple[Tensor | None, float]]
    ) -> None:
        weight: Tensor = module.weight
        self.biases = [(k, (scale * bias).to(weight)) for k, (bias, scale) in enumerate(biases) if bias is not None]
        ungrouped = isinstance(module, nn.Linear) or getattr(module, "groups", 1) == 1
        low, self.full = [], []
        for k, (delta, scale) in enumerate(deltas):
            if isinstance(delta, LowRank) and ungrouped:
                low.append((k, delta, scale))
            elif delta is not None:
                self.full.append((k, (scale * on_device(delta, weight.device).change(weight)).to(weight)))
        self.owners = [k for k, delta, _ in low for _ in range(delta.rank)]  # the adapter of each row of A
        self.down = self.up = None
        if low:
            shape = weight.shape[1:]
            self.down = torch.cat([delta.down.reshape(delta.rank, *shape) for _, delta, _ in low]).to(weight)
            self.up = torch.cat([delta.up * (delta.scale * scale) for _, delta, scale in low], 1).to(weight)

    def __call__(self, module: Any, x: Tensor, output: Tensor, row_scales: Tensor | None) -> Tensor:
        x = x.to(output.dtype)
        if self.down is not None and self.up is not None:
            inner = apply_weight(module, x, self.down.to(output.dtype))
            if row_scales is not None:
                inner = inner * _broadcast(row_scales[:, self.owners], inner, module)
            output = _added(module, output, inner, self.up.to(output.dtype))
        for k, difference in self.full:
            more = apply_weight(module, x, difference.to(output.dtype))
            if row_scales is not None:
                more = more * _broadcast(row_scales[:, k : k + 1], more, module)
            output = output + more
        for k, bias in self.biases:
            shift = bias[None] if row_scales is None else row_scales[:, k : k + 1].to(bias) * bias
            output = output + _broadcast(shift, output, module)
        return output


def apply_weight(module: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Compute a layer's output with another weight and no bias. Raises InputError for a convolution that cannot."""
    if isinstance(module, nn.Linear):
        return F.linear(x, weight)
    if is_norm(module):
        return _norm_with(module, weight)(x)
    if module.padding_mode != "zeros":
        raise InputError(f"padding_mode {module.padding_mode!r}: only 'zeros' can be adapted live; merge the adapter")
    return CONV[x.ndim - 2](x, weight, None, module.stride, module.padding, module.dilation, module.groups)


def _norm_with(norm: nn.Module, weight: Tensor) -> Any:
    """Return a norm with another weight and no bias: what it makes of x is what that weight adds to the output."""
    twin = copy(norm)
    twin._parameters = {**dict.fromkeys(norm._parameters), "weight": nn.Parameter(weight, requires_grad=False)}
    twin._forward_hooks = OrderedDict()
    return twin


def _added(module: Any, output: Tensor, inner: Tensor, up: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        # Not in place: a layer may cache its output for the next step.
        flat = torch.addmm(output.flatten(0, -2), inner.flatten(0, -2), up.T)
        return flat.view(output.shape)
    return output + apply_up(inner, up)


def apply_up(inner: Tensor, up: Tensor) -> Tensor:
    """Multiply by B at every pixel. inner: (B, rank, *d); up: (channels, rank) -> (B, channels, *d)."""
    return CONV[inner.ndim - 2](inner, up.to(inner.dtype).reshape(*up.shape, *[1] * (inner.ndim - 2)))


def _broadcast(scales: Tensor, inner: Tensor, module: Any) -> Tensor:
    """Shape scales (B, channels) like a layer's output, which can have n rows for each row of the batch."""
    if len(inner) % len(scales):
        raise InputError(
            f"adapter_scales of {len(scales)} rows: a layer is called with {len(inner)}, no multiple of it"
        )
    scales = scales.to(inner).repeat_interleave(len(inner) // len(scales), 0)
    if not isinstance(module, (*CONVS, nn.GroupNorm)):
        return scales.reshape(len(scales), *[1] * (inner.ndim - 2), -1)
    return scales.reshape(len(scales), -1, *[1] * (inner.ndim - 2))
