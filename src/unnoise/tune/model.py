"""Fit grids to a model with prompts, at the size and guidance scale of its card, and measure them on other seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unnoise.card import Card, Part, Setting
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError
from unnoise.generation.prepare import shape_of
from unnoise.generation.resolve import BATCH_AREA
from unnoise.pipeline import Pipeline
from unnoise.sampling.defaults import default
from unnoise.sampling.state import Sampler, run, start
from unnoise.tune import reference as fine
from unnoise.tune.gauss_newton import FittedWeights
from unnoise.tune.grid import expected_calls, fit
from unnoise.tune.reference import ProgressCallback, Reference, at_one_level, rms_difference, with_progress

BATCH = 32  # images, where they are small


@dataclass(frozen=True, slots=True, eq=False)
class SeedGroup:
    """The denoiser of some seeds, each with its prompt, and their reference trajectories."""

    denoise: Denoise
    reference: Reference


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A fit, and its gain on held-out seeds.

    Args:
        default, fitted: data (B, C, H, W) in [-1, 1] of the default sampler and grid, and of the fit.
        before, after: their distance to converged x0 and to converged data: means over seeds of root mean squares.
    """

    fit: FittedWeights
    default: Tensor
    fitted: Tensor
    before: tuple[float, float]
    after: tuple[float, float]


def guided_denoiser(pipeline: Pipeline, prompts: Sequence[str]) -> Denoise:
    """Return the denoiser of a batch, one prompt a row, with the guidance of the card."""
    if pipeline.denoiser.takes_end:
        raise InputError(f"model {pipeline.card.name!r}: is distilled to the levels of its training; tune its teacher")
    settings, encoder, denoiser = pipeline.plan(prompts).settings, pipeline.text_encoder, pipeline.denoiser
    batch = max(1, min(BATCH, BATCH_AREA // (settings.size[0] * settings.size[1])))
    with torch.no_grad():
        conds = [Conditioning() for _ in prompts] if encoder is None else encoder(prompts)
        null = encoder.negative("") if encoder is not None and settings.guided else None
    how = settings.guidance_scale, settings.interval, settings.guidance_rescale
    rows = [collate(conds[k : k + batch]) for k in range(0, len(conds), batch)]
    parts = [denoiser.bind(cond) if null is None else cfg(denoiser, cond, null, *how) for cond in rows]

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        split = zip(parts, x.split(batch), sigma.split(batch), strict=True)
        return torch.cat([part(some, levels) for part, some, levels in split])

    return denoise


def trace_seeds(
    pipeline: Pipeline, prompts: Sequence[str], seeds: Sequence[int], callback: ProgressCallback
) -> SeedGroup:
    """Trace the reference trajectories of seeds, each with its prompt, at the first size of the card."""
    shape = shape_of(pipeline, pipeline.plan(prompts).settings)
    noise = draw(seeds, START, torch.empty(len(seeds), *shape, device=pipeline.device))
    denoise, process = guided_denoiser(pipeline, prompts), pipeline.denoiser.process
    reference = fine.trace(with_progress(denoise, fine.FINE, callback), noise, process.sigma_max, process.sigma_min)
    return SeedGroup(denoise, reference)


@torch.no_grad()
def tune(
    pipeline: Pipeline,
    train: SeedGroup,
    test: SeedGroup,
    steps: int,
    sampler: Sampler[Any, Any] | None,
    callback: ProgressCallback,
) -> Tuned:
    """Fit a grid to one group and measure it on another. steps, sampler: as for `tune.grid.fit`."""
    denoise = with_progress(train.denoise, expected_calls(steps, sampler is not None), callback)
    found = fit(denoise, train.reference, steps, sampler)
    process, noise = pipeline.denoiser.process, test.reference.states[0]
    guided = pipeline.plan("").settings.guided
    plain = FittedWeights(*default(steps, process.sigma_max, process.sigma_min, guided))
    ask = at_one_level(test.denoise)
    ends = [run(one.sampler, ask, start(noise, one.grid)) for one in (plain, found)]
    data = [decode(pipeline, x0) for x0 in (test.reference.x0, *ends)]
    before, after = (
        (float(rms_difference(x0, test.reference.x0).mean()), float(rms_difference(decoded, data[0]).mean()))
        for x0, decoded in zip(ends, data[1:], strict=True)
    )
    return Tuned(found, data[1], data[2], before, after)


@torch.no_grad()
def decode(components: Components, x0: Tensor) -> Tensor:
    """Decode x0 in batches: (B, c, h, w) -> data (B, C, H, W) in [-1, 1]."""
    return torch.cat([components.space.decode(part) for part in x0.split(BATCH)])


def with_fits(card: Card, found: Sequence[Tuned]) -> Card:
    """Add fits to a card; they replace those with the same number of steps."""
    settings = [
        Setting(
            sampler=Part(type(one.fit.sampler).__name__, asdict(one.fit.sampler)),  # type: ignore[call-overload]
            levels=one.fit.grid[1:],
            guidance_scale=card.advice.guidance_scale,
            distances=(round(one.before[0], 5), round(one.after[0], 5)),
        )
        for one in found
    ]
    steps = {len(one.levels) for one in settings}
    others = [one for one in card.advice.fitted if len(one.levels) not in steps]
    fitted = sorted([*others, *settings], key=lambda one: len(one.levels))
    return replace(card, advice=replace(card.advice, fitted=tuple(fitted)))
