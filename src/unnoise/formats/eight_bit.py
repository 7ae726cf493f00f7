"""Weights in 8 bits: each row of a matrix or convolution as int8 with a scale of its own.

    w[i] = scale[i] * q[i],  scale[i] = max|w[i]| / 127,  q[i] = round(w[i] / scale[i]), -127 to 127

A row is everything of one output channel, or the embedding of one token. A scale is a float32 whose last 8 bits are
zero, so that 127 * scale is exact: quantising again what was dequantised gives the same bytes.
"""

from typing import Final

import torch
from torch import Tensor

SCALE: Final = ".scale"  # behind the name of a tensor: the name of its scales
MOST: Final = 127
LEAST: Final = 1e-30  # of a scale: a row of zeros has it
CUT: Final = 1 << 8  # the last 8 of 24 bits of a scale are rounded away


def quantise(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values and the scale of each row, float32. weights: of two or more axes, finite."""
    rows = weights.detach().float().flatten(1)
    exact = (rows.abs().amax(1) / MOST).clamp(min=LEAST)
    scale = ((exact.view(torch.int32) + CUT // 2) & -CUT).view(torch.float32)
    values = (rows / scale[:, None]).round().clamp(-MOST, MOST).to(torch.int8)
    return values.reshape(weights.shape), scale


def dequantise(values: Tensor, scale: Tensor) -> Tensor:
    """Return float32 weights. values: int8 of two or more axes; scale: (rows,)."""
    return values.float() * scale.reshape(-1, *(1,) * (values.ndim - 1))


def packed(name: str, weights: Tensor) -> dict[str, Tensor]:
    """Return the tensors that a file holds for some weights: int8 with scales; float16 for biases and other vectors."""
    if weights.ndim < 2 or not weights.is_floating_point():
        return {name: weights.half() if weights.is_floating_point() else weights}
    values, scale = quantise(weights)
    return {name: values, name + SCALE: scale}
