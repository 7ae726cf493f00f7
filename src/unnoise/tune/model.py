"""Fit grids to a model as it is used: its own prompts and size, with the guidance that its card advises."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unnoise.card import Card, Part, Setting
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.noise import START, draw
from unnoise.generation.metadata import Settings
from unnoise.generation.prepare import shape_of
from unnoise.generation.resolve import BATCH_AREA
from unnoise.pipeline import Pipeline
from unnoise.sampling.defaults import default
from unnoise.sampling.state import Sampler, run, start
from unnoise.tune.gauss_newton import FittedWeights
from unnoise.tune.grid import expected, fit
from unnoise.tune.reference import FINE, Teacher, Watch, apart, asking, counted, trace

AT_ONCE = 32  # pictures, where they are small


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Some seeds, the prompt of each in the denoiser, and their fine trajectories."""

    denoise: Denoise
    teacher: Teacher


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A fit, and what seeds that were left out of it gain.

    default, fitted: data (B, C, H, W) in [-1, 1] after as many steps by the library's choice, and by the fit. before,
    after: their distance to the converged data, in x0 and in data: means over seeds of root mean squares.
    """

    fit: FittedWeights
    default: Tensor
    fitted: Tensor
    before: tuple[float, float]
    after: tuple[float, float]


def guided_denoiser(pipeline: Pipeline, prompts: Sequence[str], settings: Settings) -> Denoise:
    """Bind a row to each prompt, guided as the card advises; the network runs on a few rows at a time."""
    at_once = max(1, min(AT_ONCE, BATCH_AREA // (settings.size[0] * settings.size[1])))
    encoder, model = pipeline.text_encoder, pipeline.denoiser
    with torch.no_grad():
        conds = [Conditioning() for _ in prompts] if encoder is None else encoder(prompts)
        null = encoder.negative("") if encoder is not None and settings.guided else None
    parts = []
    for at in range(0, len(conds), at_once):
        cond = collate(conds[at : at + at_once])
        scale, interval = settings.guidance_scale, settings.interval
        rescale = settings.guidance_rescale
        parts.append(model.bind(cond) if null is None else cfg(model, cond, null, scale, interval, rescale))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        split = zip(parts, x.split(at_once), sigma.split(at_once), strict=True)
        return torch.cat([part(some, levels) for part, some, levels in split])

    return denoise


def group(pipeline: Pipeline, prompts: Sequence[str], seeds: Sequence[int], watch: Watch) -> Group:
    """Follow seeds in fine steps, each with its prompt, at the size that the card advises first."""
    settings = pipeline.plan(prompts).settings
    shape = shape_of(pipeline, settings)
    noise = draw(seeds, START, torch.empty(len(seeds), *shape, device=pipeline.device))
    denoise, process = guided_denoiser(pipeline, prompts, settings), pipeline.denoiser.process
    teacher = trace(counted(denoise, FINE, watch), noise, process.sigma_max, process.sigma_min)
    return Group(denoise, teacher)


@torch.no_grad()
def tune(
    pipeline: Pipeline, learn: Group, left_out: Group, steps: int, sampler: Sampler[Any, Any] | None, watch: Watch
) -> Tuned:
    """Fit a grid to one group and measure it on another. steps and sampler are as `tune.grid.fit` has them."""
    found = fit(counted(learn.denoise, expected(steps, sampler is not None), watch), learn.teacher, steps, sampler)
    process, noise = pipeline.denoiser.process, left_out.teacher.states[0]
    plain = FittedWeights(*default(steps, process.sigma_max, process.sigma_min))
    ask = asking(left_out.denoise)
    made = [run(how.sampler, ask, start(noise, how.grid)) for how in (plain, found)]
    data = [pictures(pipeline, x0) for x0 in (left_out.teacher.x0, *made)]
    before, after = (
        (float(apart(x0, left_out.teacher.x0).mean()), float(apart(shown, data[0]).mean()))
        for x0, shown in zip(made, data[1:], strict=True)
    )
    return Tuned(found, data[1], data[2], before, after)


@torch.no_grad()
def pictures(pipeline: Pipeline, x0: Tensor) -> Tensor:
    """Decode x0, few at a time: (B, c, h, w) -> data (B, C, H, W) in [-1, 1]."""
    return torch.cat([pipeline.space.decode(part) for part in x0.split(AT_ONCE)])


def advised(card: Card, found: Sequence[Tuned]) -> Card:
    """Write fits on a card, in place of those for as many steps."""
    made = [
        Setting(
            sampler=Part(type(one.fit.sampler).__name__, asdict(one.fit.sampler)),  # type: ignore[call-overload]
            levels=one.fit.grid[1:],
            guidance_scale=card.advice.guidance_scale,
            distances=(round(one.before[0], 5), round(one.after[0], 5)),
        )
        for one in found
    ]
    steps = {len(one.levels) for one in made}
    kept = [one for one in card.advice.fitted if len(one.levels) not in steps]
    fitted = sorted([*kept, *made], key=lambda one: len(one.levels))
    return replace(card, advice=replace(card.advice, fitted=tuple(fitted)))
