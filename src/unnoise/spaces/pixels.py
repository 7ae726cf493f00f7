"""The space of pixels: x0 = (data - shift) / scale, one cell a square of `patch` x `patch` pixels."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from unnoise.errors import check_whole
from unnoise.spaces.space import Affine, finite, with_channels


class Pixels:
    """Pixels of images. Those of a square are folded into channels, so that a network runs on a coarser grid.

    Args:
        channels: 1 for grey, 3 for colour.
        shift, scale: mean and standard deviation of the data, one number or one a channel.
        patch: side of a square in pixels, 1 to 64.

    Raises:
        InputError: shift or scale is not finite or of another length, scale is not above 0, or patch is out of range.

    Source:
        Shi et al. 2016, section 3.2 (the folding).
    """

    def __init__(
        self, channels: int = 3, shift: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,), patch: int = 1
    ) -> None:
        check_whole("patch", patch, 1, 64)
        self.channels, self.factor = channels, patch
        self.affine = Affine(channels, shift, scale)

    def encode(self, data: Tensor) -> Tensor:
        """Return x0 (B, C * patch^2, h, w). data: (B, C, H, W) in [-1, 1]; colour becomes grey for one channel."""
        return F.pixel_unshuffle(self.affine.to_x0(with_channels(data, self.channels)), self.factor)

    def decode(self, x0: Tensor) -> Tensor:
        """Return data, clamped to [-1, 1]. x0: (B, C * patch^2, h, w)."""
        return finite(self.affine.to_code(F.pixel_shuffle(x0, self.factor)), "decoding").clamp(-1, 1)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one x0. height, width: in pixels, multiples of `patch`."""
        return self.channels * self.factor**2, height // self.factor, width // self.factor
