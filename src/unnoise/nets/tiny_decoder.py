"""A small decoder: x0 to images in a fraction of the time of the autoencoder's own, for previews and fast models."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.nets.blocks import zeroed
from unnoise.nets.checks import check_least

BOUND = 3.0  # deviations of x0 beyond which nothing more is drawn


class TinyDecoder(nn.Module):
    """Decode x0 with a few residual blocks of plain convolutions, without normalisation.

    x0: (B, latents, h, w), not the autoencoder's latents: shift and scale are learned. data: (B, channels, h*factor,
    w*factor) in about [-1, 1]. All convolutions are on the coarse grid; pixels are unfolded from channels last.

    Args:
        latents: channels of x0, at least 1.
        channels: of an image, 3.
        factor: pixels of a side that are one cell of x0, at least 1.
        width: features, at least 1.
        blocks: residual blocks, at least 1.

    Source: https://github.com/madebyollin/taesd, taesd.py, for blocks without normalisation and the bound on x0;
        Shi et al. 2016 for the unfolding.
    """

    def __init__(self, latents: int = 4, channels: int = 3, factor: int = 4, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        check_least(1, latents=latents, channels=channels, factor=factor, width=width, blocks=blocks)
        self.factor = factor
        self.enter = nn.Conv2d(latents, width, 3, padding=1)
        self.blocks = nn.ModuleList(PlainBlock(width) for _ in range(blocks))
        self.leave = nn.Conv2d(width, channels * factor**2, 3, padding=1)

    def forward(self, x0: Tensor) -> Tensor:
        h = F.relu(self.enter(BOUND * torch.tanh(x0 / BOUND)))
        for block in self.blocks:
            h = block(h)
        return F.pixel_shuffle(self.leave(h), self.factor)


class PlainBlock(nn.Module):
    """Two convolutions around a residual, which start as the identity. x: (B, width, h, w), at least 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))
