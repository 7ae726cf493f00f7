"""The space of a video autoencoder's latents: one cell is `factor` pixels wide and `stride` frames long."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from unnoise.spaces.space import Affine, finite


class VideoCodec(Protocol):
    """A video autoencoder."""

    factor: int
    stride: int
    latents: int

    def encode(self, data: Tensor) -> Tensor:
        """Return the mean (B, latents, t, h, w). data: (B, 3, T, H, W) in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, 3, T, H, W). latents: (B, latents, t, h, w)."""


class VideoLatent:
    """Latents of a video autoencoder. shift, scale: their mean and standard deviation, one number or one a channel.

    Raises InputError for a shift or scale that is not finite or of another length, and for a scale that is not above 0.
    """

    def __init__(self, autoencoder: VideoCodec, shift: Sequence[float], scale: Sequence[float]) -> None:
        self.autoencoder = autoencoder
        self.factor = autoencoder.factor
        self.affine = Affine(autoencoder.latents, shift, scale)

    def encode(self, data: Tensor) -> Tensor:
        """Return x0. data: (B, 3, T, H, W) in [-1, 1], T = stride*k + 1."""
        return finite(self.affine.to_x0(self.autoencoder.encode(data)), "encoding", self.autoencoder)

    def decode(self, x0: Tensor) -> Tensor:
        """Return data, clamped to [-1, 1]. x0: (B, latents, t, h, w)."""
        data = self.autoencoder.decode(self.affine.to_code(x0))
        return finite(data, "decoding", self.autoencoder).clamp(-1, 1)

    def shape(self, height: int, width: int, frames: int) -> tuple[int, ...]:
        """Return the shape (latents, t, h, w) of one x0. height, width: multiples of `factor`; frames: stride*k + 1."""
        cells = (frames - 1) // self.autoencoder.stride + 1
        return self.affine.channels, cells, height // self.factor, width // self.factor
