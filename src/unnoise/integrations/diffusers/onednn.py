"""Make the layers of a network quicker on the CPU, without a change to their weights, names or answers beyond rounding.

oneDNN computes in a blocked layout of the weights, and torch brings them into it at every call. At 32 x 32 latents that
is a fifth of a U-Net's time in float32 and two fifths in bfloat16 (bench/foreign.py). Here each layer keeps its
blocked weights from its first call on. What a layer makes of the text is the same at every step, and computed once.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TEXT = (".attn2.to_k", ".attn2.to_v")  # layers of diffusers' networks whose input is the text
LEAST = 1 << 16  # numbers of a weight below which the layout does not matter


def pack(net: nn.Module) -> nn.Module:
    """Let the layers of a network on the CPU keep what they would make again at every call. They stay what they are.

    Weights that are replaced or changed in place are seen; after writing to `weight.data`, which torch does not count
    as a change, call `release`.
    """
    for name, module in net.named_modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = PackedConv2d
        elif type(module) is nn.Linear:
            module.__class__ = TextLinear if name.endswith(TEXT) else PackedLinear
    return net


def release(net: nn.Module) -> None:
    """Give back the memory of what layers keep; the next call makes it again."""
    for module in net.modules():
        if isinstance(module, _Packed):
            module.forget()


def _known() -> tuple[torch.dtype, ...]:
    """Give the numbers that oneDNN computes with here."""
    if not torch.backends.mkldnn.is_available():
        return ()
    narrow = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if narrow else (torch.float32,)


def _writes(tensor: Tensor | None) -> tuple[int, int]:
    """Say where a tensor lies and how often it was written to."""
    return (0, 0) if tensor is None else (tensor.data_ptr(), tensor._version)


DTYPES = _known()


class _Packed(nn.Module):
    """What packed layers share: blocked weights that are made again when the weights have changed."""

    weight: Tensor
    _blocked: tuple[Any, Tensor] | None = None

    def forget(self) -> None:
        """Drop what is kept."""
        self._blocked = None

    def _plain(self, x: Tensor) -> bool:
        """Say whether a call is one for torch: compiled, with gradients, autocast, elsewhere, or of other numbers."""
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
        key, kept = _writes(self.weight), self._blocked
        if kept is None or kept[0] != key:
            kept = self._blocked = key, self._block(x)
        return kept[1]

    def _block(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    # A weight that is replaced, or goes to another dtype and back, may come to lie where the old one lay.
    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("weight", "bias"):
            self.forget()
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_blocked", "_made")}


class PackedLinear(_Packed, nn.Linear):
    """A linear layer that keeps its blocked weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Give x*W + b."""
        if self._plain(x):
            return super().forward(x)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight(x), self.bias, "none", [], "")
        return out

    def _block(self, x: Tensor) -> Tensor:
        blocked: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight)
        return blocked


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """An answer, to what, how often that had been written to until then, and all else that it depends on."""

    asked: Tensor
    writes: int
    key: tuple[Any, ...]
    out: Tensor

    def fits(self, key: tuple[Any, ...], x: Tensor) -> bool:
        """Say whether it answers x. Off the CPU only the same memory does: to compare numbers would wait for them."""
        old = self.asked
        if key != self.key or old._version != self.writes:
            return False
        if x.data_ptr() == old.data_ptr() and x.stride() == old.stride():
            return True
        return x.device.type == "cpu" and torch.equal(x, old)


class TextLinear(PackedLinear):
    """A linear layer that keeps its answer for as long as it is asked the same."""

    _made: _Answer | None = None

    def forget(self) -> None:
        """Drop what is kept."""
        super().forget()
        self._made = None

    def forward(self, x: Tensor) -> Tensor:
        """Give x*W + b, of the last call where that was about the same numbers and weights."""
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return super().forward(x)
        if x.is_inference() or self.weight.is_inference():  # torch does not count writes to such tensors
            return super().forward(x)
        kind = x.device.type
        known = kind != "meta" and torch.is_autocast_enabled(kind)
        autocast = torch.get_autocast_dtype(kind) if known else None
        key = (x.shape, x.dtype, x.device, autocast, _writes(self.weight), _writes(self.bias))
        made = self._made
        if made is None or not made.fits(key, x):
            made = self._made = _Answer(x, x._version, key, super().forward(x))
        return made.out


class PackedConv2d(_Packed, nn.Conv2d):
    """A convolution that keeps its blocked weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x: (B, C, H, W)."""
        if self._plain(x) or x.ndim != 4:
            return super().forward(x)
        how = self.padding, self.stride, self.dilation, self.groups
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self._weight(x), self.bias, *how, "none", [], "")
        return out

    def _block(self, x: Tensor) -> Tensor:
        how = self.padding, self.stride, self.dilation, self.groups
        blocked: Tensor = torch.ops.mkldnn._reorder_convolution_weight(self.weight, *how, list(x.shape))
        return blocked
