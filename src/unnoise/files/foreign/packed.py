"""Make the layers of a network quicker on the CPU, without a change to their weights, names or answers beyond rounding.

oneDNN computes in a blocked layout of the weights, and torch brings them into it at every call. At 32 x 32 latents that
is a quarter of a U-Net's time in float32 and two fifths in bfloat16 (bench/foreign.py). Here each layer keeps its
blocked weights from its first call on. What a layer makes of the text is the same at every step, and computed once.
"""

from typing import Any

import torch
from torch import Tensor, nn

DTYPES = (torch.float32, torch.bfloat16)
TEXT = (".attn2.to_k", ".attn2.to_v")  # layers of diffusers' networks whose input is the text
LEAST = 1 << 16  # numbers of a weight below which the layout does not matter


def quicken(net: nn.Module) -> nn.Module:
    """Let the layers of a network on the CPU keep what they would make again at every call. They stay what they are."""
    for name, module in net.named_modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.__class__ = PackedConv2d
        elif type(module) is nn.Linear:
            module.__class__ = TextLinear if name.endswith(TEXT) else PackedLinear
    return net


class _Packed:
    """What packed layers share: blocked weights that are made again when the weights have changed."""

    weight: Tensor
    _key: Any = None
    _blocked: Tensor | None = None

    def _plain(self, x: Tensor) -> bool:
        """Say whether a call is one for torch: with gradients, under autocast, elsewhere, or of other numbers."""
        weight = self.weight
        return (
            weight.dtype not in DTYPES
            or x.dtype != weight.dtype
            or weight.device.type != "cpu"
            or weight.numel() < LEAST
            or torch.is_autocast_enabled("cpu")
            or (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        )

    def _weight(self, x: Tensor) -> Tensor:
        key = (self.weight.data_ptr(), self.weight._version)
        if self._blocked is None or key != self._key:
            self._blocked, self._key = self._block(x), key
        return self._blocked

    def _block(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_key", "_blocked", "_made")}


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


class TextLinear(PackedLinear):
    """A linear layer that keeps its answer for as long as it is asked the same."""

    _made: tuple[Any, Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Give x*W + b, of the last call where that was about the same numbers and weights."""
        if torch.is_grad_enabled() or x.is_inference():
            return super().forward(x)
        asked = (x.data_ptr(), x.shape, x.stride(), x.dtype, x._version)
        key = (*asked, self.weight.data_ptr(), self.weight._version, torch.is_autocast_enabled("cpu"))
        if self._made is None or self._made[0] != key:
            self._made = key, x, super().forward(x)  # x is held, so that no other tensor can come to lie in its place
        return self._made[2]


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
