"""The second task: a denoiser, trained on encoded views with their captions, labels or neither."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.buckets import nth_batch
from unnoise.data.shuffle import SAMPLE, nth_image
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.loss import loss, sigma_lognormal
from unnoise.diffusion.noise import numbers
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.train.latents import Latents
from unnoise.train.recipe import TextOptions, TrainingRecipe
from unnoise.train.task import sheet_title
from unnoise.train.validation import (
    LevelLosses,
    level_edges,
    make_monitor,
    row_images,
    row_noise,
    row_quantiles,
)

SHEET_SEED, COLUMNS = 0, 4
SAMPLES = 16  # of a model without prompts, on a sheet


class DenoiserTask:
    """Train a denoiser on latents, with its text encoder on captions, or on labels, or on neither.

    latents: of each bucket of images of one size.
    """

    name = "denoiser"

    def __init__(
        self,
        recipe: TrainingRecipe,
        latents: Sequence[Latents],
        pipeline: Pipeline,
        prompts: list[str],
        held_out: Latents | None = None,
    ) -> None:
        self.recipe, self.options, self.latents = recipe, recipe.denoiser, latents
        self.counts = tuple(len(bucket.members) for bucket in latents)
        self.prompts, self.pipeline, self.denoiser = prompts, pipeline, pipeline.denoiser
        self.networks = nn.ModuleDict({"net": self.denoiser.net})
        self.learning_rate_multiples: dict[str, float] = {}
        if self.options.text is not None and pipeline.text_encoder is not None:
            self.networks["text"] = pipeline.text_encoder.net
            self.learning_rate_multiples |= text_multiples(self.networks, self.options.text)
        self.device = pipeline.device
        self.sigma = partial(sigma_lognormal, mean=self.options.level_mean, std=self.options.level_std)
        self.held_out, levels = held_out, LevelLosses(level_edges(self.sigma))
        images = 0 if held_out is None else len(held_out.x0)
        self.monitor = make_monitor(self.validation_loss, images, self.options.fit, recipe.checkpoints, levels)
        self.levels = levels

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        seed, batch = self.recipe.seed, self.options.fit.batch
        k, number = nth_batch(self.counts, seed, step)
        latents = self.latents[k]
        images = [nth_image(latents, seed, number * batch + row) for row in rows]
        streams = [numbers(seed, SAMPLE, step * batch + row) for row in rows]
        views = [int(stream.integers(latents.x0.shape[1])) for stream in streams]
        captioned = torch.tensor([stream.random() >= self.options.dropout for stream in streams])
        u = torch.tensor([stream.random() for stream in streams], dtype=torch.float32)
        noise = np.empty((len(rows), *latents.x0.shape[2:]), np.float32)
        for stream, part in zip(streams, noise, strict=True):
            stream.standard_normal(dtype=np.float32, out=part)
        captions = latents.captions_at(views, streams)
        cond = self.conditioning(latents, images, captions, captioned)
        losses = self._losses(latents.x0[images, views].float(), torch.from_numpy(noise), u, cond)
        self.levels.add(u, losses)
        return losses

    def validation_loss(self, rows: range) -> Tensor:
        """Return the loss of held-out rows with their captions, see `Validation`."""
        held_out = self.held_out
        assert held_out is not None
        readable = held_out.members.images
        images, first = [int(readable[k]) for k in row_images(rows, len(readable))], [0] * len(rows)
        u = row_quantiles(self.monitor.rows)[rows.start : rows.stop]
        cond = self.conditioning(held_out, images, first, torch.ones(len(rows), dtype=torch.bool))
        x0 = held_out.x0[images, first].float()
        return self._losses(x0, row_noise(rows, x0.shape[1:]), u, cond)

    def _losses(self, x0: Tensor, noise: Tensor, u: Tensor, cond: Conditioning) -> Tensor:
        """Return the losses of rows, whose levels are quantiles u of the training distribution."""
        clean, gaussian, sigma = (part.to(self.device) for part in (x0, noise, self.sigma(u)))
        return loss(self.denoiser, clean, gaussian, sigma, cond, self.options.weighting)

    def conditioning(
        self, latents: Latents, images: Sequence[int], captions: Sequence[int], captioned: Tensor
    ) -> Conditioning:
        """Return captions, by number, or labels, and the unconditional model where `captioned` is False."""
        if latents.labels is not None:
            label = torch.where(captioned, latents.labels[images], self.options.classes - 1)
            return Conditioning(label=label.to(self.device))
        if latents.ids is None or latents.lengths is None:
            return Conditioning()
        ids, lengths = latents.ids[images, captions], torch.where(captioned, latents.lengths[images, captions], 1)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        cond: Conditioning = self.networks["text"]((ids * mask).to(self.device), mask.to(self.device))
        return cond

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Generate the images of a contact sheet, from the same noise each time."""
        n = samples_each(self.prompts)
        samples = self.pipeline.generate(
            self.prompts, seed=SHEET_SEED, n=n, size=self.recipe.data.size, prompt_weighting="literal", progress=False
        )
        title = sheet_title(self.recipe.name, self.name, step, self.recipe.checkpoints.ema_lengths[0])
        captions = [prompt or f"seed {SHEET_SEED + k}" for prompt in self.prompts for k in range(n)]
        return contact_sheet([sample.image for sample in samples], captions, title, COLUMNS)


def text_multiples(networks: nn.ModuleDict, options: TextOptions) -> dict[str, float]:
    """Return the learning rate of what is trained on captions alone before, beside a denoiser, as multiples."""
    names = (name for name, _ in networks.named_parameters() if name.startswith(("text.", "net.mean.")))
    found = dict.fromkeys(names, options.learning_rate_multiple)
    found["text.embed.weight"] *= options.embedding_learning_rate_multiple
    return {name: multiple for name, multiple in found.items() if multiple != 1}


def samples_each(prompts: Sequence[str]) -> int:
    """Return how many samples of each prompt are on a sheet: several of the unconditional model."""
    return SAMPLES if [*prompts] == [""] else 1
