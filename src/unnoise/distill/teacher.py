"""The frozen teacher: its guided prediction of x0, a step of its flow, and its own samples of a few calls."""

from functools import cached_property, lru_cache
from math import inf
from typing import Final

import torch
from torch import Tensor

from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.prediction import expand, signal, spread
from unnoise.distill.recipe import DistillRecipe
from unnoise.errors import InputError
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.text.encode import PromptEncoder
from unnoise.train.recipe import DataOptions

KNOWN: Final = 256  # prompts whose conditioning is kept on the device: 160 MB for SDXL


class Teacher:
    """A teacher without gradients.

    Args:
        pipeline: the model; its networks are frozen in evaluation mode.
        guided: whether it is run with guidance, for which it needs the model without a prompt.
    """

    def __init__(self, pipeline: Pipeline, guided: bool) -> None:
        self.pipeline, self.guided = pipeline, guided
        self.denoiser, self.device = pipeline.denoiser, pipeline.device
        for net in (*pipeline.networks().values(), pipeline.denoiser):
            net.requires_grad_(False).eval()
        low, high = pipeline.card.advice.guidance_interval
        self.interval = low, inf if high is None else high
        self._encoded = lru_cache(KNOWN)(self._encode_prompt)
        self.null = self.encode([""]) if pipeline.text_encoder is not None else None

    @property
    def sigma_max(self) -> float:
        """The level of the noise that samples start from."""
        return self.denoiser.process.sigma_max

    @property
    def sigma_min(self) -> float:
        """The lowest level that the teacher was trained on, at least 0."""
        return self.denoiser.process.sigma_min

    def trained_size(self, data: DataOptions | None) -> tuple[int, int]:
        """Return width and height in pixels of what is trained: a square of the data, or the first size of the card."""
        return self.pipeline.card.advice.sizes[0] if data is None else (data.size, data.size)

    @torch.no_grad()
    def encode(self, prompts: list[str]) -> Conditioning:
        """Encode prompts, or names of classes, as one batch; the empty one is the model without a prompt.

        Raises InputError for a prompt that the model cannot encode.
        """
        encoder = self.pipeline.text_encoder
        if encoder is None:
            return Conditioning()
        if not isinstance(encoder, PromptEncoder):
            places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
            conds = [self._encoded(prompt) if prompt else self._unprompted for prompt in places]
            return collate(conds).rows([places[prompt] for prompt in prompts])
        tokens = [encoder.tokenizer.encode(prompt)[: encoder.length] for prompt in prompts]
        ids = torch.tensor([row + [0] * (encoder.length - len(row)) for row in tokens], device=self.device)
        lengths = torch.tensor([len(row) for row in tokens], device=self.device)
        cond: Conditioning = encoder.net(ids, torch.arange(encoder.length, device=self.device) < lengths[:, None])
        return cond

    def _encode_prompt(self, prompt: str) -> Conditioning:
        """Encode a class, or a prompt of another program's model."""
        assert self.pipeline.text_encoder is not None
        return self.pipeline.text_encoder([prompt])[0]

    @cached_property
    def _unprompted(self) -> Conditioning:
        """The conditioning of the model without a prompt, which every batch may need."""
        assert self.pipeline.text_encoder is not None
        return self.pipeline.text_encoder.negative("")

    @torch.no_grad()
    def x0(self, x: Tensor, sigma: Tensor, cond: Conditioning, guidance: Tensor) -> Tensor:
        """Predict x0 with guidance, in one call of 2B rows, or of B where there is none: (B, *d).

        Args:
            x: (B, *d) in the unit frame.
            sigma: (B,), above 0.
            cond: of B rows; () for a teacher without prompts.
            guidance: (B,), the guidance scales; 1 is none.
        """
        if not self.guided or self.null is None:
            found: Tensor = self.denoiser(x, sigma, cond)
            return found
        rescale = self.pipeline.card.advice.guidance_rescale
        return cfg(self.denoiser, cond, self.null, guidance, self.interval, rescale)(x, sigma)

    def step(self, x: Tensor, here: Tensor, there: Tensor, cond: Conditioning, guidance: Tensor) -> Tensor:
        """Carry x along the flow from a level to a lower one, by a step of DDIM: (B, *d).

        Args:
            here, there: (B,) levels, there below here; here may be infinite, there 0.
        """
        return ddim(x, self.x0(x, here, cond, guidance), here, there)


def ddim(x: Tensor, x0: Tensor, here: Tensor, there: Tensor) -> Tensor:
    """Carry x from one level to a lower one as if x0 were the truth, see `sampling.level.move`; (B,) levels."""
    return expand(spread(there) / spread(here), x) * x + expand(signal(there) - spread(there) / here, x) * x0


def load_teacher(recipe: DistillRecipe, device: torch.device) -> Teacher:
    """Load the teacher of a recipe. Raises InputError for one that cannot be distilled as the recipe says."""
    pipeline = load(recipe.teacher).to(device)
    check_teacher(recipe, pipeline)
    return Teacher(pipeline, recipe.guided)


def check_teacher(recipe: DistillRecipe, teacher: Components) -> None:
    """Raise InputError for a teacher that makes no images, is distilled itself, or lacks guidance that is asked for."""
    card, named = teacher.card, f"teacher {recipe.teacher!r}"
    if card.modality != "image":
        raise InputError(f"{named}: makes {card.modality}, and only models of images are distilled")
    if card.distilled is not None:
        raise InputError(
            f"{named}: is itself distilled, from {card.distilled.teacher!r}; distil that model, or begin from this one "
            f"with init"
        )
    if card.advice.distilled_guidance is not None:
        raise InputError(f"{named}: is itself distilled, with its guidance as an input; use a model of many steps")
    if recipe.guided and not card.prompted and teacher.text_encoder is None:
        raise InputError(f"guidance {list(recipe.guidance)}: {named} takes no prompts, so it has none; leave it out")
    if recipe.guided and card.training.get("caption_dropout") == 0:
        raise InputError(
            f"guidance {list(recipe.guidance)}: {named} was trained with caption_dropout 0, so that it knows no model "
            f"without a prompt; leave it out, or train the teacher with caption_dropout = 0.1"
        )
    process = teacher.denoiser.process
    for steps in recipe.steps:
        for level in recipe.options.sampling(steps)[1][:-1]:
            if not process.sigma_min <= level < process.sigma_max:
                raise InputError(
                    f"{recipe.method}.grid {level:g}: {named} is defined from {process.sigma_min:g} to "
                    f"{process.sigma_max:g}; use levels between them"
                )
