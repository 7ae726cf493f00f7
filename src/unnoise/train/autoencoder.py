"""The first task: an autoencoder between images and latents."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import SAMPLE, nth_image
from unnoise.data.view import View, random_view, render_views
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.nets.autoencoder import Autoencoder
from unnoise.spaces.space import with_channels
from unnoise.train.recipe import AutoencoderOptions, TrainingRecipe
from unnoise.train.task import sheet_title
from unnoise.train.validation import make_monitor, row_images, row_noise

SHOWN, COLUMNS = 32, 8  # images of a sheet, each beside its reconstruction


class AutoencoderTask:
    """Train an autoencoder on augmented images, with L1 on pixels and on edges and a small KL divergence."""

    name = "autoencoder"

    def __init__(
        self,
        recipe: TrainingRecipe,
        options: AutoencoderOptions,
        dataset: ImageDataset,
        device: torch.device,
        held_out: ImageDataset | None = None,
    ) -> None:
        if options.fit is None:
            raise InputError("autoencoder.fit: missing; it says how the autoencoder is trained")
        self.recipe, self.options, self.dataset, self.device = recipe, options, dataset, device
        self.fit = options.fit
        torch.manual_seed(recipe.seed)
        self.net = Autoencoder(**options.args).to(device)
        self.networks = nn.ModuleDict({"autoencoder": self.net})
        self.learning_rate_multiples: dict[str, float] = {}
        self.held_out, images = held_out, 0 if held_out is None else len(held_out)
        self.monitor = make_monitor(self.validation_loss, images, self.fit, recipe.checkpoints)

    def views(self, ns: range) -> list[View]:
        """Return the views of the n-th images."""
        return nth_views(self.dataset, self.recipe.seed, self.options.augment, ns)

    def pixels(self, dataset: ImageDataset, views: list[View]) -> Tensor:
        """Return the pixels of views: (B, C, H, W) in [-1, 1]."""
        return view_pixels(dataset, views, self.net.channels).to(self.device)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        first = step * self.fit.batch
        ns = range(first + rows.start, first + rows.stop)
        data = self.pixels(self.dataset, self.views(ns))
        noise = np.empty((len(data), *self._latent_shape(data)), np.float32)
        for row, n in enumerate(ns):
            stream = numbers(self.recipe.seed, SAMPLE, n)
            stream.standard_normal(dtype=np.float32, out=noise[row])
        return self._losses(data, torch.from_numpy(noise))

    def validation_loss(self, rows: range) -> Tensor:
        """Return the loss of held-out rows, see `Validation`."""
        held_out = self.held_out
        assert held_out is not None
        seed, augment = self.recipe.seed, self.options.augment
        views = [random_view(held_out, i, 0, seed, augment) for i in row_images(rows, len(held_out))]
        data = self.pixels(held_out, views)
        return self._losses(data, row_noise(rows, self._latent_shape(data)))

    def _latent_shape(self, data: Tensor) -> torch.Size:
        side = data.shape[-1] // self.net.factor
        return torch.Size((self.net.latents, side, side))

    def _losses(self, data: Tensor, noise: Tensor) -> Tensor:
        decoded, mean, logvar = self.net(data, noise.to(self.device))
        error = decoded.float() - data
        kl = 0.5 * (mean.float().square() + logvar.float().exp() - 1 - logvar.float()).flatten(1).mean(1)
        return error.abs().flatten(1).mean(1) + self.options.edges * edge_error(error) + self.options.kl * kl

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Draw images, each beside its reconstruction."""
        views = self.views(range(min(SHOWN, self.fit.batch)))
        data = self.pixels(self.dataset, views)
        columns = [to_images(part.clamp(-1, 1)) for part in (data, self.net.decode(self.net.encode(data)[0]))]
        captions = chain.from_iterable((view.caption, "reconstruction") for view in views)
        title = sheet_title(self.recipe.name, self.name, step, self.recipe.checkpoints.ema_lengths[0])
        return contact_sheet([*chain.from_iterable(zip(*columns, strict=True))], [*captions], title, COLUMNS)


def nth_views(dataset: ImageDataset, seed: int, augment: Augment, ns: range) -> list[View]:
    """Return the views of the n-th images of a training."""
    return [random_view(dataset, nth_image(dataset, seed, n), n, seed, augment) for n in ns]


def view_pixels(dataset: ImageDataset, views: Sequence[View], channels: int) -> Tensor:
    """Return the pixels of views: (B, channels, H, W) in [-1, 1]."""
    return with_channels(render_views(dataset, views), channels)


def edge_error(error: Tensor) -> Tensor:
    """Return the mean absolute difference between neighbours, over both directions: (B, C, H, W) -> (B,)."""
    down, across = (error.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3))
    return (down + across) / 2
