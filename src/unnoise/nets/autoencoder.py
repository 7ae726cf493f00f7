"""A KL autoencoder: images to a small grid of latents and back."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.nets.blocks import ResBlock
from unnoise.nets.checks import GROUPS, check_least, check_multiple


class Autoencoder(nn.Module):
    """Encode images as a Gaussian on a grid `factor` times coarser, and decode its samples.

    data: (B, channels, H, W) in [-1, 1], sizes a multiple of `factor`; latents: (B, latents, H/factor, W/factor).
    Pixels are folded into channels first and unfolded last (space to depth): all convolutions are on the coarse grid.

    Args:
        channels: of an image, 3.
        latents: channels of the latents, at least 1; `channels` of the denoiser's net.
        factor: pixels of a side that become one latent, at least 1.
        width: features, a multiple of 32.
        encode: residual blocks of the encoder, at least 0.
        decode: residual blocks of the decoder, at least 0.

    Source: Kingma & Welling 2014; Rombach et al. 2022, section 3.1; Shi et al. 2016 for the folding.
    """

    def __init__(
        self, channels: int = 3, latents: int = 4, factor: int = 4, width: int = 96, encode: int = 2, decode: int = 3
    ) -> None:
        super().__init__()
        check_multiple("width", width, GROUPS, "the groups of its norms")
        check_least(1, channels=channels, latents=latents, factor=factor)
        check_least(0, encode=encode, decode=decode)
        self.factor = factor
        self.latents = latents
        self.channels = channels
        folded = channels * factor**2
        self.enter = nn.Conv2d(folded, width, 3, padding=1)
        self.encoder = nn.Sequential(*(ResBlock(2, width, width) for _ in range(encode)))
        self.to_latent = nn.Conv2d(width, 2 * latents, 3, padding=1)
        self.from_latent = nn.Conv2d(latents, width, 3, padding=1)
        self.decoder = nn.Sequential(*(ResBlock(2, width, width) for _ in range(decode)))
        self.norm = nn.GroupNorm(32, width)
        self.leave = nn.Conv2d(width, folded, 3, padding=1)

    def encode(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the latents, each (B, latents, h, w)."""
        h = self.encoder(self.enter(F.pixel_unshuffle(data, self.factor)))
        mean, logvar = self.to_latent(h).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the image (B, channels, H, W); values may be slightly outside [-1, 1]."""
        h = self.decoder(self.from_latent(latents))
        return F.pixel_shuffle(self.leave(F.silu(self.norm(h))), self.factor)

    def forward(self, data: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, sample latents with unit noise (B, latents, h, w), decode: image, mean, log-variance."""
        mean, logvar = self.encode(data)
        return self.decode(mean + torch.exp(0.5 * logvar) * noise), mean, logvar
