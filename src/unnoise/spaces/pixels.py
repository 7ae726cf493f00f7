"""The space of pictures themselves: x0 = (data - shift) / scale, one cell a pixel."""

from collections.abc import Sequence

from torch import Tensor

from unnoise.spaces.space import Affine


class Pixels:
    """Work on pixels.

    channels: of the data, 1 grey or 3 colour; shift, scale: mean and standard deviation of the data, see `space`.
    Raises InputError for a shift or scale that is not finite, not above 0, or of another length than the channels.
    """

    factor = 1

    def __init__(self, channels: int = 3, shift: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> None:
        self.channels = channels
        self.affine = Affine(channels, shift, scale)

    def encode(self, data: Tensor) -> Tensor:
        """Give x0. data: (B, C, H, W) in [-1, 1]."""
        return self.affine.to_x0(data)

    def decode(self, x0: Tensor) -> Tensor:
        """Give data, cut to [-1, 1]. x0: (B, C, H, W)."""
        return self.affine.to_code(x0).clamp(-1, 1)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Give the shape (C, H, W) of one x0."""
        return self.channels, height, width
