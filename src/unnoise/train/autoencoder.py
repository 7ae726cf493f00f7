"""The first task: an autoencoder that keeps what a picture looks like on a grid of latents."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import SAMPLE, picture
from unnoise.data.view import drawn, pixels_of
from unnoise.diffusion.noise import numbers
from unnoise.nets.autoencoder import Autoencoder
from unnoise.train.recipe import AutoencoderOptions, TrainingRecipe, compile_if_asked
from unnoise.train.sheet import grid_of

SHOWN = 32


class AutoencoderTask:
    """Train an autoencoder on views of the pictures: L1 on pixels and on edges, and a little KL divergence."""

    name = "autoencoder"

    def __init__(
        self, recipe: TrainingRecipe, own: AutoencoderOptions, source: ImageDataset, device: torch.device
    ) -> None:
        self.recipe, self.own, self.source, self.device = recipe, own, source, device
        torch.manual_seed(recipe.seed)
        self.net = Autoencoder(**own.args).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parts = nn.ModuleDict({"autoencoder": self.net})
        self.rates: dict[str, float] = {}
        compile_if_asked(self.net, own.fit)

    def batch(self, step: int) -> Tensor:
        """Paint the pictures of a step: (B, 3, H, W) in [-1, 1]."""
        recipe, fit = self.recipe, self.own.fit
        seen = range(step * fit.batch, (step + 1) * fit.batch)
        chosen = [picture(self.source, recipe.seed, n) for n in seen]
        views = [drawn(self.source, i, n, recipe.seed, self.own.augment) for i, n in zip(chosen, seen, strict=True)]
        return pixels_of(self.source, views).to(self.device, memory_format=torch.channels_last)

    def loss(self, step: int) -> Tensor:
        data = self.batch(step)
        side = data.shape[-1] // self.net.factor
        noise = np.empty((len(data), self.net.latents, side, side), np.float32)
        for row in range(len(data)):
            stream = numbers(self.recipe.seed, SAMPLE, step * len(data) + row)
            stream.standard_normal(dtype=np.float32, out=noise[row])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.own.fit.bf16):
            painted, mean, logvar = self.net(data, torch.from_numpy(noise).to(self.device))
        apart = painted.float() - data
        kl = 0.5 * (mean.float().square() + logvar.float().exp() - 1 - logvar.float()).mean()
        return apart.abs().mean() + self.own.edges * edges(apart) + self.own.kl * kl

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Show pictures above what the autoencoder makes of them."""
        data = self.batch(0)[:SHOWN]
        return grid_of(torch.cat([data, self.net.decode(self.net.encode(data)[0])]), SHOWN // 2)


def edges(apart: Tensor) -> Tensor:
    """Give the mean absolute difference between neighbours, over both directions. apart: (B, C, H, W)."""
    return (apart.diff(dim=2).abs().mean() + apart.diff(dim=3).abs().mean()) / 2
