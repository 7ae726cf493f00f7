"""The second task: a denoiser and its text encoder, trained on encoded views."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import SAMPLE, nth_image
from unnoise.devices import autocast
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.loss import loss, sigma_lognormal
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.train.fit_options import compile_net
from unnoise.train.latents import Latents
from unnoise.train.recipe import TrainingRecipe

SHEET_SEED, COLUMNS = 0, 4


class DenoiserTask:
    """Train a denoiser and its text encoder on latents and captions, with caption dropout."""

    name = "denoiser"

    def __init__(
        self, recipe: TrainingRecipe, dataset: ImageDataset, latents: Latents, pipeline: Pipeline, prompts: list[str]
    ) -> None:
        if pipeline.text_encoder is None:
            raise InputError("the card has no text encoder; training on captions needs one")
        self.recipe, self.options, self.dataset, self.latents = recipe, recipe.denoiser, dataset, latents
        self.prompts, self.pipeline, self.denoiser, self.text_encoder = (
            prompts,
            pipeline,
            pipeline.denoiser,
            pipeline.text_encoder,
        )
        self.networks = nn.ModuleDict({"net": self.denoiser.net, "text": self.text_encoder.net})
        self.learning_rate_multiples = {"text.embed.weight": self.options.text.embedding_learning_rate_multiple}
        self.device = pipeline.device
        compile_net(self.denoiser.net, self.options.fit)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        first, batch = step * self.options.fit.batch, len(rows)
        ns = range(first + rows.start, first + rows.stop)
        images = [nth_image(self.latents, self.recipe.seed, n) for n in ns]
        x0, noise = (np.empty((batch, *self.latents.x0.shape[2:]), np.float32) for _ in range(2))
        u = torch.empty(batch)
        views, captioned = [], torch.ones(batch, dtype=torch.bool)
        for row, n in enumerate(ns):
            stream = numbers(self.recipe.seed, SAMPLE, n)
            views.append(int(stream.integers(self.latents.x0.shape[1])))
            captioned[row] = bool(stream.random() >= self.options.caption_dropout)
            u[row] = stream.random()
            stream.standard_normal(dtype=np.float32, out=noise[row])
            x0[row] = self.latents.x0[images[row], views[row]]
        sigma = sigma_lognormal(u, self.options.level_mean, self.options.level_std).to(self.device)
        clean, gaussian = (torch.from_numpy(part).to(self.device) for part in (x0, noise))
        with autocast(self.device, self.options.fit.bf16):
            cond = self.encode_captions(images, views, captioned)
            return loss(self.denoiser, clean, gaussian, sigma, cond, self.options.weighting)

    def encode_captions(self, images: Sequence[int], views: Sequence[int], captioned: Tensor) -> Conditioning:
        """Encode the captions of a batch, and the empty prompt where `captioned` is False."""
        lengths = torch.where(captioned, self.latents.lengths[images, views], 1)
        ids = self.latents.ids[images, views]
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        cond: Conditioning = self.text_encoder.net((ids * mask).to(self.device), mask.to(self.device))
        return cond

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Generate an image of each prompt, from the same noise each time."""
        size = self.recipe.data.size
        samples = self.pipeline.generate(
            self.prompts, seed=SHEET_SEED, size=size, prompt_weighting="literal", progress=False
        )
        title = f"{self.recipe.name}: denoiser after {step} steps"
        return contact_sheet([sample.image for sample in samples], self.prompts, title, COLUMNS)
