"""The second task: a denoiser and its text encoder, on views that are already encoded."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import SAMPLE, picture
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.loop import run
from unnoise.diffusion.loss import loss, sigma_lognormal
from unnoise.diffusion.noise import START, draw, numbers
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.sampling import default, start
from unnoise.train.latents import Latents
from unnoise.train.recipe import TrainingRecipe, compile_if_asked
from unnoise.train.sheet import grid_of

CALLS, GUIDANCE = 20, 2.0  # of the sheet


class DenoiserTask:
    """Train a model and its text encoder on latents and captions, leaving out a share of the captions."""

    name = "denoiser"

    def __init__(self, recipe: TrainingRecipe, source: ImageDataset, latents: Latents, pipeline: Pipeline) -> None:
        if pipeline.text_encoder is None:
            raise InputError("the card has no text encoder: captions need one")
        self.recipe, self.own, self.source, self.latents = recipe, recipe.denoiser, source, latents
        self.model, self.text, self.space = pipeline.denoiser, pipeline.text_encoder, pipeline.space
        self.parts = nn.ModuleDict({"net": self.model.net, "text": self.text.net})
        self.rates = {"text.embed.weight": self.own.text.rate}
        self.device = next(self.model.parameters()).device
        compile_if_asked(self.model.net, self.own.fit)

    def loss(self, step: int) -> Tensor:
        batch = self.own.fit.batch
        seen = range(step * batch, (step + 1) * batch)
        chosen = [picture(self.source, self.recipe.seed, n) for n in seen]
        x0, noise = (np.empty((batch, *self.latents.x0.shape[2:]), np.float32) for _ in range(2))
        u = torch.empty(batch)
        views, kept = [], torch.ones(batch, dtype=torch.bool)
        for row, n in enumerate(seen):
            stream = numbers(self.recipe.seed, SAMPLE, n)
            views.append(int(stream.integers(self.latents.x0.shape[1])))
            kept[row] = bool(stream.random() >= self.own.dropout)
            u[row] = stream.random()
            stream.standard_normal(dtype=np.float32, out=noise[row])
            x0[row] = self.latents.x0[chosen[row], views[row]]
        sigma = sigma_lognormal(u, self.own.level_mean, self.own.level_std).to(self.device)
        clean, noisy = (torch.from_numpy(part).to(self.device) for part in (x0, noise))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.own.fit.bf16):
            cond = self.read(chosen, views, kept)
            return loss(self.model, clean, noisy, sigma, cond, self.own.weighting).mean()

    def read(self, chosen: Sequence[int], views: Sequence[int], kept: Tensor) -> Conditioning:
        """Read the captions of a batch; one that is left out is read as the empty prompt."""
        lengths = torch.where(kept, self.latents.lengths[chosen, views], 1)
        ids = self.latents.ids[chosen, views]
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        cond: Conditioning = self.text.net((ids * mask).to(self.device), mask.to(self.device))
        return cond

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Show what the recipe's prompts give, with guidance, from the same noise each time."""
        prompts = self.recipe.prompts or tuple(names[0] for names in self.source.captions[:: len(self.source) // 16])
        cond = collate(self.text(prompts))
        denoise = cfg(self.model, cond, self.text([""])[0], GUIDANCE)
        seeds = tuple(range(len(prompts)))
        blank = torch.empty(len(prompts), *self.latents.x0.shape[2:], device=self.device)
        sampler, grid = default(CALLS, self.model.process.sigma_max, self.model.process.sigma_min)
        x0 = run(sampler, denoise, start(draw(seeds, START, blank), grid), draw, seeds)
        return grid_of(self.space.decode(x0), 8)
