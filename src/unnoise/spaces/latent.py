"""The space of an autoencoder's latents: x0 = (mean of the latents - shift) / scale, one cell `factor` pixels wide."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from unnoise.spaces.space import Affine, finite, with_channels


class Codec(Protocol):
    """An image autoencoder."""

    factor: int
    latents: int

    def encode(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, latents, h, w). data: (B, C, H, W) in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, C, H, W). latents: (B, latents, h, w)."""


class Latent:
    """Latents of an image autoencoder.

    Args:
        autoencoder: the autoencoder.
        shift, scale: mean and standard deviation of the latents over the training data, one number or one a channel.

    Raises:
        InputError: shift or scale is not finite or of another length, or scale is not above 0.
    """

    def __init__(self, autoencoder: Codec, shift: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> None:
        self.autoencoder = autoencoder
        self.factor = autoencoder.factor
        self.channels = int(getattr(autoencoder, "channels", 3))  # of data
        self.affine = Affine(autoencoder.latents, shift, scale)

    def encode(self, data: Tensor) -> Tensor:
        """Return x0, the mean of the encoder's distribution. data: (B, C, H, W) in [-1, 1]."""
        mean = self.autoencoder.encode(with_channels(data, self.channels))[0]
        return finite(self.affine.to_x0(mean), "encoding", self.autoencoder)

    def decode(self, x0: Tensor) -> Tensor:
        """Return data, clamped to [-1, 1]. x0: (B, latents, h, w)."""
        data = self.autoencoder.decode(self.affine.to_code(x0))
        return finite(data, "decoding", self.autoencoder).clamp(-1, 1)

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape (latents, h, w) of one x0. height, width: in pixels, multiples of `factor`."""
        return self.affine.channels, height // self.factor, width // self.factor
