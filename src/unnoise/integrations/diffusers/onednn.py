"""Speed up the layers of a network on the CPU; weights, names and outputs (up to rounding) do not change.

oneDNN computes in a blocked layout of the weights, and torch converts them at every call. At 32 x 32 latents that is a
fifth of a U-Net's time in float32 and two fifths in bfloat16 (bench/foreign.py). Here each layer caches its blocked
weights at its first call. The keys and values of the text are the same at every step and computed once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TEXT = (".attn2.to_k", ".attn2.to_v")  # layers of diffusers' networks whose input is the text
LEAST = 1 << 16  # numbers of a weight; below, the layout does not matter


def pack(net: nn.Module) -> nn.Module:
    """Let the layers of a network on the CPU cache their blocked weights, and return the network.

    Weights that are replaced or changed in place are noticed. After a write to `weight.data`, which torch does not
    count as a change, call `release`.
    """
    for name, module in net.named_modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = PackedConv2d
        elif type(module) is nn.Linear:
            module.__class__ = TextLinear if name.endswith(TEXT) else PackedLinear
    return net


def release(net: nn.Module) -> None:
    """Release the cached weights; the next call computes them again."""
    for module in net.modules():
        if isinstance(module, _Packed):
            module.clear()


def _supported() -> tuple[torch.dtype, ...]:
    """Return the dtypes that oneDNN supports on this machine."""
    if not torch.backends.mkldnn.is_available():
        return ()
    narrow = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if narrow else (torch.float32,)


def _writes(tensor: Tensor | None) -> tuple[int, int]:
    """Return the address of a tensor and the number of writes to it."""
    return (0, 0) if tensor is None else (tensor.data_ptr(), tensor._version)


DTYPES = _supported()


class _Packed(nn.Module):
    """The cache of blocked weights, which are computed again when the weights have changed."""

    packed = True
    weight: Tensor
    _blocked: tuple[Any, Tensor] | None = None

    def clear(self) -> None:
        """Clear the cache."""
        self._blocked = None

    def _plain(self, x: Tensor) -> bool:
        """Return whether torch must run a call: compiled, gradients, autocast, other device or dtype, small weight."""
        weight = self.weight
        return (
            torch.compiler.is_compiling()
            or weight.dtype not in DTYPES
            or x.dtype != weight.dtype
            or weight.device.type != "cpu"
            or weight.numel() < LEAST
            or weight.is_inference()
            or torch.is_autocast_enabled("cpu")
            or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        )

    def _weight(self, x: Tensor) -> Tensor:
        key, cached = _writes(self.weight), self._blocked
        if cached is None or cached[0] != key:
            cached = self._blocked = key, self._block(x)
        return cached[1]

    def _block(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    # A weight that is replaced, or converted to another dtype and back, can have the address of the old one.
    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.clear()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):
            self.clear()
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_blocked", "_output")}


class PackedLinear(_Packed, nn.Linear):
    """A linear layer that caches its blocked weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x*W + b."""
        if self._plain(x):
            return super().forward(x)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight(x), self.bias, "none", [], "")
        return out

    def _block(self, x: Tensor) -> Tensor:
        blocked: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight)
        return blocked


@dataclass(frozen=True, slots=True, eq=False)
class _Cached:
    """An output with its input, the number of writes to that input, and everything else that it depends on."""

    x: Tensor
    writes: int
    key: tuple[Any, ...]
    out: Tensor

    def fits(self, key: tuple[Any, ...], x: Tensor) -> bool:
        """Return whether it is the output of x. Off the CPU, values are not compared: that would wait for them."""
        old = self.x
        if key != self.key or old._version != self.writes:
            return False
        if x.data_ptr() == old.data_ptr() and x.stride() == old.stride():
            return True
        return x.device.type == "cpu" and torch.equal(x, old)


class TextLinear(PackedLinear):
    """A linear layer that caches its output for as long as its input is the same."""

    _output: _Cached | None = None

    def clear(self) -> None:
        """Clear the cache."""
        super().clear()
        self._output = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x*W + b, from the cache if input and weights are those of the last call."""
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return super().forward(x)
        if x.is_inference() or self.weight.is_inference():  # torch does not count writes to such tensors
            return super().forward(x)
        kind = x.device.type
        enabled = kind != "meta" and torch.is_autocast_enabled(kind)
        autocast = torch.get_autocast_dtype(kind) if enabled else None
        key = (x.shape, x.dtype, x.device, autocast, _writes(self.weight), _writes(self.bias))
        cached = self._output
        if cached is None or not cached.fits(key, x):
            cached = self._output = _Cached(x, x._version, key, super().forward(x))
        return cached.out


class PackedConv2d(_Packed, nn.Conv2d):
    """A convolution that caches its blocked weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x: (B, C, H, W)."""
        if self._plain(x) or x.ndim != 4:
            return super().forward(x)
        options = self.padding, self.stride, self.dilation, self.groups
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._weight(x), self.bias, *options, "none", [], "")
        return out

    def _block(self, x: Tensor) -> Tensor:
        options = self.padding, self.stride, self.dilation, self.groups
        blocked: Tensor = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *options, list(x.shape))
        return blocked
