"""What a space is, and how its shift and scale are measured.

    data -> code (one fixed map) -> x0 = (code - shift) / scale      and back: code = shift + scale*x0

`shift` is the mean and `scale` the standard deviation of the code over the training data, each a list with one number a
channel, or with a single number for all. Other programs multiply by their scale where this one divides.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Protocol

import torch
from torch import Tensor

from unnoise.errors import InputError


class Space(Protocol):
    """Move between data (B, C, *D) in [-1, 1] and x0 (B, c, *d) of zero mean and unit variance."""

    @property
    def factor(self) -> int:
        """How many pixels make one cell of x0 along each side."""

    def encode(self, data: Tensor) -> Tensor:
        """Give x0. data: (B, C, *D) in [-1, 1]."""

    def decode(self, x0: Tensor) -> Tensor:
        """Give data in [-1, 1]. x0: (B, c, *d)."""

    @property
    def shape(self) -> Callable[..., tuple[int, ...]]:
        """Give the shape of one x0: of (height, width) in pixels, (height, width, frames), or (seconds,)."""


def measure(encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    """Measure the shift and scale of each channel of a code: its mean and standard deviation, in float64.

    batches: tensors (B, C, *d) of data; encode: data -> code (B, c, *d). Each variance is summed around a mean that is
    already close, so that a large mean costs no digits.   Source: Chan, Golub & LeVeque 1983, eq. 2.1.
    Raises InputError where there is no data, or a channel never changes.
    """
    count, mean, square = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        code = encode(batch).detach().double().transpose(0, 1).flatten(1)
        here, own = code.shape[1], code.mean(1)
        apart = own - mean
        square = square + (code - own[:, None]).square().sum(1) + apart.square() * (count * here / (count + here))
        mean = mean + apart * (here / (count + here))
        count += here
    if count == 0:
        raise InputError("no data to measure shift and scale on")
    scale = (square / count).sqrt()
    if not (scale > 0).all() or not scale.isfinite().all():
        raise InputError(f"scale {scale.tolist()}: every channel must vary, and be finite")
    return mean.tolist(), scale.tolist()


class Affine:
    """Shift and scale each channel. shift, scale: one number for all `channels`, or one each; finite, scale above 0."""

    def __init__(self, channels: int, shift: Sequence[float], scale: Sequence[float]) -> None:
        self.channels = channels
        self.shift, self.scale = tuple(shift), tuple(scale)
        for name, values in (("shift", self.shift), ("scale", self.scale)):
            if len(values) not in (1, channels) or not all(isfinite(value) for value in values):
                raise InputError(f"{name} {list(values)}: one finite number, or one for each of {channels} channels")
        if not all(value > 0 for value in self.scale):
            raise InputError(f"scale {list(self.scale)}: above 0")

    def to_x0(self, code: Tensor) -> Tensor:
        """Give (code - shift) / scale. code: (B, C, *d)."""
        shift, scale = self._like(code)
        return (code - shift) / scale

    def to_code(self, x0: Tensor) -> Tensor:
        """Give shift + scale*x0. x0: (B, C, *d)."""
        shift, scale = self._like(x0)
        return shift + scale * x0

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        behind = (1,) * (values.ndim - 2)
        return values.new_tensor(self.shift).reshape(-1, *behind), values.new_tensor(self.scale).reshape(-1, *behind)
