"""The space of an audio autoencoder's latents: a fixed number of cells of `factor` samples each."""

from typing import Protocol

from torch import Tensor

from unnoise.errors import InputError
from unnoise.spaces.space import finite


class AudioCodec(Protocol):
    """An audio autoencoder."""

    factor: int
    latents: int
    rate: int

    def encode(self, data: Tensor) -> Tensor:
        """Return the mean (B, latents, l). data: (B, C, n) in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, C, n). latents: (B, latents, l)."""


class AudioLatent:
    """Latents of an audio autoencoder, `length` cells for every sample; shorter audio is its beginning."""

    def __init__(self, autoencoder: AudioCodec, length: int) -> None:
        self.autoencoder = autoencoder
        self.factor, self.rate = autoencoder.factor, autoencoder.rate
        self.length = length

    @property
    def seconds(self) -> float:
        """The longest audio in seconds."""
        return self.length * self.factor / self.rate

    def encode(self, data: Tensor) -> Tensor:
        """Return x0. data: (B, C, n) in [-1, 1]."""
        return finite(self.autoencoder.encode(data), "encoding", self.autoencoder)

    def decode(self, x0: Tensor) -> Tensor:
        """Return data, clamped to [-1, 1]. x0: (B, latents, l)."""
        return finite(self.autoencoder.decode(x0), "decoding", self.autoencoder).clamp(-1, 1)

    def shape(self, seconds: float) -> tuple[int, ...]:
        """Return the shape (latents, l) of one x0. Raises InputError for audio that is too long."""
        if seconds > self.seconds:
            raise InputError(f"seconds {seconds:g}: this model generates at most {self.seconds:.1f}")
        return self.autoencoder.latents, self.length
