"""Image autoencoders of diffusers as codecs of this program."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.components import weights_dtype
from unnoise.spaces.latent import Latent

TILED = 1024 * 1024  # pixels above which images are decoded in tiles; 1024 x 1024 needs 5 GB in float32


class KL(nn.Module):
    """AutoencoderKL, in tiles for large images."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.latents = int(vae.config.latent_channels)
        self.channels = int(vae.config.in_channels)

    def encode(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance (B, latents, h, w). data: (B, 3, H, W) in [-1, 1]."""
        self._tile(data.shape[-2] * data.shape[-1])
        found = self.vae.encode(data.to(weights_dtype(self.vae))).latent_dist
        return found.mean.to(data.dtype), found.logvar.to(data.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, 3, H, W). latents: (B, latents, h, w)."""
        self._tile(latents.shape[-2] * latents.shape[-1] * self.factor**2)
        found: Tensor = self.vae.decode(latents.to(weights_dtype(self.vae)), return_dict=False)[0]
        return found.to(latents.dtype)

    def _tile(self, pixels: int) -> None:
        self.vae.use_tiling = pixels > TILED


class DeterministicVAE(nn.Module):
    """An autoencoder without latent variance: AutoencoderTiny, with the latents of the large one, and AutoencoderDC.

    Source: madebyollin/taesd; diffusers, models/autoencoders/autoencoder_tiny.py and autoencoder_dc.py.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        self.factor = 2 ** (len(vae.config.encoder_block_out_channels) - 1)
        self.latents = int(vae.config.latent_channels)
        self.channels = int(vae.config.in_channels)

    def encode(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents (B, latents, h, w) and a very small log-variance. data: (B, 3, H, W) in [-1, 1]."""
        mean = self.vae.encode(data.to(weights_dtype(self.vae)), return_dict=False)[0].to(data.dtype)
        return mean, torch.full_like(mean, -30.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Return data (B, 3, H, W). latents: (B, latents, h, w)."""
        found: Tensor = self.vae.decode(latents.to(weights_dtype(self.vae)), return_dict=False)[0]
        return found.to(latents.dtype)


CODECS: Final[Mapping[str, type[KL | DeterministicVAE]]] = {
    "AutoencoderKL": KL,
    "AutoencoderTiny": DeterministicVAE,
    "AutoencoderDC": DeterministicVAE,
}


class AutoencoderKL(KL):
    """An AutoencoderKL of a config, without weights, as the card of a trained model names it."""

    def __init__(self, **config: Any) -> None:
        super().__init__(empty("AutoencoderKL", config, "autoencoder"))


class AutoencoderTiny(DeterministicVAE):
    """An AutoencoderTiny of a config, without weights."""

    def __init__(self, **config: Any) -> None:
        super().__init__(empty("AutoencoderTiny", config, "autoencoder"))


class AutoencoderDC(DeterministicVAE):
    """An AutoencoderDC of a config, without weights."""

    def __init__(self, **config: Any) -> None:
        super().__init__(empty("AutoencoderDC", config, "autoencoder"))


def latent_space(vae: Any) -> Latent:
    """Build the space of an autoencoder: x0 = (code - shift)*scaling_factor, or (code - mean)*scaling_factor/std."""
    config = vae.config
    if type(vae).__name__ == "AutoencoderTiny":
        return Latent(DeterministicVAE(vae), (config.shift_factor,), (1 / config.scaling_factor,))
    mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or std is None:
        return Latent(KL(vae), (config.shift_factor or 0.0,), (1 / config.scaling_factor,))
    for name, value in (("latents_mean", mean), ("latents_std", std)):
        if not isinstance(value, list | tuple) or not all(type(one) in (int, float) for one in value):
            raise InputError(f"vae: {name} {str(value)[:80]}: one number for each channel of the latents")
    return Latent(KL(vae), tuple(mean), tuple(one / config.scaling_factor for one in std))
