"""The space of an audio autoencoder's latents: a fixed number of cells, each `factor` samples of sound long."""

from typing import Protocol

from torch import Tensor

from unnoise.errors import InputError


class AudioCodec(Protocol):
    """What a space of sounds needs of an autoencoder."""

    factor: int
    latents: int
    rate: int

    def encode(self, data: Tensor) -> Tensor:
        """Give the mean (B, latents, l). data: (B, C, n) in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Give data (B, C, n). latents: (B, latents, l)."""


class AudioLatent:
    """Work on the latents of an audio autoencoder, `length` of them, of which a shorter sound keeps the beginning."""

    def __init__(self, autoencoder: AudioCodec, length: int) -> None:
        self.autoencoder = autoencoder
        self.factor, self.rate = autoencoder.factor, autoencoder.rate
        self.length = length

    @property
    def seconds(self) -> float:
        """Give the longest sound."""
        return self.length * self.factor / self.rate

    def encode(self, data: Tensor) -> Tensor:
        """Give x0. data: (B, C, n) in [-1, 1]."""
        return self.autoencoder.encode(data)

    def decode(self, x0: Tensor) -> Tensor:
        """Give data, cut to [-1, 1]. x0: (B, latents, l)."""
        return self.autoencoder.decode(x0).clamp(-1, 1)

    def shape(self, seconds: float) -> tuple[int, ...]:
        """Give the shape (latents, l) of one x0. Raises InputError for a sound that is too long."""
        if seconds > self.seconds:
            raise InputError(f"seconds {seconds:g}: this model makes at most {self.seconds:.1f}")
        return self.autoencoder.latents, self.length
