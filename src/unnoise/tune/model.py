"""Fit grids to a model as it is used: its own prompts and size, with the guidance that its card advises."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unnoise.card import Card, Part, Setting
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.noise import START, draw
from unnoise.generation.engine import ImageConditioning, bound
from unnoise.generation.options import Request
from unnoise.generation.resolve import decide
from unnoise.pipeline import BATCH_AREA, Pipeline
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


def denoiser(pipeline: Pipeline, prompts: Sequence[str]) -> Denoise:
    """Bind a row to each prompt, guided as the card advises; rows are asked a few at a time."""
    plan = decide(Request(tuple(prompts)), pipeline.card, pipeline.denoiser.process, pipeline.factor)
    at_once = max(1, min(AT_ONCE, BATCH_AREA // (plan.size[0] * plan.size[1])))
    with torch.no_grad():
        conds = [Conditioning() for _ in prompts] if pipeline.text_encoder is None else pipeline.text_encoder(prompts)
        null = pipeline.text_encoder([plan.negative])[0] if pipeline.text_encoder and plan.weight != 1 else None
    parts = [
        bound(pipeline, plan, conds[at : at + at_once], null, ImageConditioning())
        for at in range(0, len(conds), at_once)
    ]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        split = zip(parts, x.split(at_once), sigma.split(at_once), strict=True)
        return torch.cat([part(some, levels) for part, some, levels in split])

    return denoise


def group(pipeline: Pipeline, prompts: Sequence[str], seeds: Sequence[int], watch: Watch) -> Group:
    """Follow seeds in fine steps, each with its prompt, at the size that the card advises first."""
    plan = decide(Request(tuple(prompts)), pipeline.card, pipeline.denoiser.process, pipeline.factor)
    shape = pipeline.space.shape(plan.size[1], plan.size[0])
    noise = draw(seeds, START, torch.empty(len(seeds), *shape, device=pipeline.device))
    denoise, process = denoiser(pipeline, prompts), pipeline.denoiser.process
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
