"""The interface of spaces, and the measurement of shift and scale.

    data -> code (one fixed map) -> x0 = (code - shift) / scale      and back: code = shift + scale*x0

`shift` is the mean and `scale` the standard deviation of the code over the training data: one number a channel, or one
for all. Other programs multiply by their scale where this one divides.
"""

from collections.abc import Callable, Iterable, Sequence
from math import inf, isfinite
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.errors import InputError, NonFiniteError


class Space(Protocol):
    """Convert between data (B, C, *D) in [-1, 1] and x0 (B, c, *d) of zero mean and unit variance."""

    @property
    def factor(self) -> int:
        """The pixels of one cell of x0 along each side."""

    def encode(self, data: Tensor) -> Tensor:
        """Return x0. data: (B, C, *D) in [-1, 1]. Raises NonFiniteError where NaN or infinity comes out."""

    def decode(self, x0: Tensor) -> Tensor:
        """Return data in [-1, 1]. x0: (B, c, *d). Raises NonFiniteError where NaN or infinity comes out."""

    @property
    def shape(self) -> Callable[..., tuple[int, ...]]:
        """Returns the shape of one x0, of (height, width) in pixels, (height, width, frames), or (seconds,)."""


def measure(encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    """Measure the mean and standard deviation of each channel of a code, as `moments` does.

    Raises:
        InputError: there is no data, or a channel is constant or not finite.
    """
    mean, scale = moments(encode, batches)
    if not all(0 < value < inf for value in scale):
        raise InputError(f"scale {scale}: every channel must vary and be finite")
    return mean, scale


def moments(encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> tuple[list[float], list[float]]:
    """Measure the mean and standard deviation of each channel of a code, in float64.

    Variances are summed around the mean of each batch, so that a large mean does not cost precision.

    Args:
        encode: data -> code (B, c, *d).
        batches: data, (B, C, *d) each.

    Raises:
        InputError: there is no data.

    Source:
        Chan, Golub & LeVeque 1983, eq. 2.1.
    """
    count, mean, square = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        code = encode(batch).detach().cpu().double().transpose(0, 1).flatten(1)
        size, own = code.shape[1], code.mean(1)
        gap = own - mean
        square = square + (code - own[:, None]).square().sum(1) + gap.square() * (count * size / (count + size))
        mean = mean + gap * (size / (count + size))
        count += size
    if count == 0:
        raise InputError("no data to measure shift and scale on; give at least one batch")
    return mean.tolist(), (square / count).sqrt().tolist()


GREY = (0.299, 0.587, 0.114)  # of red, green and blue.   Source: ITU-R BT.601, section 2.5.1


def with_channels(data: Tensor, channels: int) -> Tensor:
    """Return data with so many channels: colour becomes grey for one. data: (B, C, *D)."""
    if channels != 1 or data.shape[1] != 3:
        return data
    return (data * data.new_tensor(GREY).reshape(3, *(1,) * (data.ndim - 2))).sum(1, keepdim=True)


def finite(values: Tensor, doing: str, autoencoder: object = None) -> Tensor:
    """Return values that are finite, so that no clamp makes a colour of infinity.

    Args:
        values: what a space encoded or decoded.
        doing: "encoding" or "decoding".
        autoencoder: that computed them, whose dtype is named; None for the values' own.

    Raises:
        NonFiniteError: they have NaN or infinity.
    """
    if values.is_meta or bool(values.isfinite().all()):
        return values
    weights = autoencoder.parameters() if isinstance(autoencoder, nn.Module) else ()
    dtype = min({one.dtype for one in weights if one.is_floating_point()}, key=_width, default=values.dtype)
    advice = "check the weights" if dtype.itemsize >= torch.float32.itemsize else "use vae_dtype float32"
    raise NonFiniteError(f"{doing}: NaN or infinity in {str(dtype).removeprefix('torch.')}; {advice}")


def _width(dtype: torch.dtype) -> int:
    return dtype.itemsize


class Affine:
    """Shift and scale each channel. shift, scale: one number for all `channels`, or one each; finite, scale above 0."""

    def __init__(self, channels: int, shift: Sequence[float], scale: Sequence[float]) -> None:
        self.channels = channels
        self.shift, self.scale = tuple(shift), tuple(scale)
        for name, values in (("shift", self.shift), ("scale", self.scale)):
            if len(values) not in (1, channels) or not all(isfinite(value) for value in values):
                raise InputError(f"{name} {list(values)}: one finite number, or one for each of {channels} channels")
        if not all(value > 0 for value in self.scale):
            raise InputError(f"scale {list(self.scale)}: every number must be above 0")

    def to_x0(self, code: Tensor) -> Tensor:
        """Return (code - shift) / scale. code: (B, C, *d)."""
        shift, scale = self._like(code)
        return (code - shift) / scale

    def to_code(self, x0: Tensor) -> Tensor:
        """Return shift + scale*x0. x0: (B, C, *d)."""
        shift, scale = self._like(x0)
        return shift + scale * x0

    def _like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        trailing = (1,) * (values.ndim - 2)
        shift, scale = values.new_tensor(self.shift), values.new_tensor(self.scale)
        return shift.reshape(-1, *trailing), scale.reshape(-1, *trailing)
