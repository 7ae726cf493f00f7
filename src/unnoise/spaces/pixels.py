"""The space of pixels: x0 = (data - shift) / scale, one cell a pixel."""

from collections.abc import Sequence

from torch import Tensor

from unnoise.spaces.space import Affine, finite, with_channels


class Pixels:
    """Pixels of images.

    Args:
        channels: 1 for grey, 3 for colour.
        shift, scale: mean and standard deviation of the data, one number or one a channel.

    Raises:
        InputError: shift or scale is not finite or of another length, or scale is not above 0.
    """

    factor = 1

    def __init__(self, channels: int = 3, shift: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> None:
        self.channels = channels
        self.affine = Affine(channels, shift, scale)

    def encode(self, data: Tensor) -> Tensor:
        """Return x0. data: (B, C, H, W) in [-1, 1]; colour becomes grey for one channel."""
        return self.affine.to_x0(with_channels(data, self.channels))

    def decode(self, x0: Tensor) -> Tensor:
        """Return data, clamped to [-1, 1]. x0: (B, C, H, W)."""
        return finite(self.affine.to_code(x0), "decoding").clamp(-1, 1)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape (C, H, W) of one x0."""
        return self.channels, height, width
