"""Probe a loaded model: a few seeded calls of its network, and what `measure` reads from them."""

from dataclasses import dataclass, replace
from math import inf

import torch
from torch import Tensor

from unnoise.check import measure
from unnoise.check.measure import Numbers
from unnoise.check.read.recipe import model_of
from unnoise.check.subject import Subject
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.errors import NonFiniteError
from unnoise.pipeline import Pipeline
from unnoise.sampling import default
from unnoise.sampling.kinds import KINDS, Kind
from unnoise.sampling.state import start

PROMPTS = ("a red heart", "a cat", "a blue car", "a tree")
STEPS = 8  # of the drawn images
FEW = 4  # of those for the prediction type
ENDS = (20.0, 0.1)  # sigma of nearly pure noise and of nearly clean data
SIZE = (64, 64)  # of a model without an advised size


@dataclass(frozen=True, slots=True)
class Trial:
    """Hold the conditions and the noise of all calls, one row per prompt."""

    cond: Conditioning
    empty: Conditioning
    noise: Tensor
    seeds: list[int]

    def draw(self, model: Denoiser, steps: int, guided: Denoise | None = None) -> Tensor:
        """Draw x0 (B, *d) from the noise. guided: the denoiser with guidance."""
        sampler, grid = default(steps, highest(model), model.process.sigma_min)
        return run(sampler, guided or model.bind(self.cond, grid), start(self.noise, grid), draw, self.seeds)


@torch.no_grad()
def probe(pipeline: Pipeline, seed: int = 0) -> Subject:
    """Measure four small images without guidance and with the advised scale, and the network at both ends of its
    levels. `unnoise.check(pipeline)` also runs the rules on the numbers.
    """
    trial = _trial(pipeline, seed)
    found: list[Numbers] = []
    try:
        found += [_kind(pipeline.denoiser, trial), _coupling(pipeline.denoiser, trial)]
        found += _pictures(pipeline, trial)
        found += _guidance(pipeline, trial)
    except NonFiniteError:
        found.append({"latent_finite": 0.0})
    path = pipeline.card.name
    return replace(measure.subject(*found, path=path), tool="unnoise", models=(model_of(pipeline.card, path),))


def highest(model: Denoiser) -> float:
    """Return a model's level of nearly pure noise."""
    return min(ENDS[0], model.process.sigma_max)


def _trial(pipeline: Pipeline, seed: int) -> Trial:
    width, height = min(pipeline.card.advice.sizes, key=lambda sides: sides[0] * sides[1], default=SIZE)
    seeds = [seed + row for row in range(len(PROMPTS))]
    noise = torch.empty(len(seeds), *pipeline.space.shape(height, width), device=pipeline.device)
    text = pipeline.text_encoder
    cond, empty = (collate(text(words)) if text else Conditioning() for words in (PROMPTS, [""] * len(PROMPTS)))
    return Trial(_complete(cond, pipeline), _complete(empty, pipeline), draw(seeds, START, noise), seeds)


def _complete(cond: Conditioning, pipeline: Pipeline) -> Conditioning:
    """Add the inputs of a distilled network: the guidance scale of its card, and jumps that end at clean data."""
    ones, guidance = torch.ones(len(PROMPTS), device=pipeline.device), pipeline.card.advice.distilled_guidance
    if guidance is not None:
        cond = replace(cond, distilled_guidance=guidance * ones)
    return replace(cond, end=0 * ones) if pipeline.denoiser.takes_end else cond


def _steps(pipeline: Pipeline) -> int:
    """Return the steps of drawn images: those of the card of a network that takes the ends of its jumps."""
    return pipeline.card.advice.steps if pipeline.denoiser.takes_end else STEPS


def _pictures(pipeline: Pipeline, trial: Trial) -> list[Numbers]:
    """Measure images without guidance, and with it where the card advises it."""
    model, space, advice = pipeline.denoiser, pipeline.space, pipeline.card.advice
    plain = trial.draw(model, _steps(pipeline))
    try:
        pixels = space.decode(plain)
    except NonFiniteError:
        return [{"picture_finite": 0.0}]
    found = [measure.picture(pixels), measure.round_trip(plain, space.encode(pixels))]
    if pipeline.text_encoder is not None and advice.guidance_scale != 1:
        between = (
            advice.guidance_interval[0],
            inf if advice.guidance_interval[1] is None else advice.guidance_interval[1],
        )
        guided = cfg(model, trial.cond, trial.empty, advice.guidance_scale, between, advice.guidance_rescale)
        x0 = trial.draw(model, _steps(pipeline), guided)
        found += [measure.guided(x0, plain), measure.clipped(space.decode(x0), pixels)]
    return found


def _guidance(pipeline: Pipeline, trial: Trial) -> list[Numbers]:
    """Measure the effect of prompts, where the model has them."""
    if pipeline.text_encoder is None:
        return []
    sigma = _levels(trial, highest(pipeline.denoiser))
    answers = [pipeline.denoiser(trial.noise, sigma, cond) for cond in (trial.cond, trial.empty)]
    return [measure.null(*answers)]


def _coupling(model: Denoiser, trial: Trial) -> Numbers:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        answer: Tensor = model(x, sigma, trial.cond.rows(slice(len(x))))
        return answer

    return measure.coupling(denoise, trial.noise, _levels(trial, highest(model)))


def _levels(trial: Trial, sigma: float) -> Tensor:
    return trial.noise.new_full((len(trial.noise),), sigma)


def _kind(model: Denoiser, trial: Trial) -> Numbers:
    """Draw a little data with the network as each kind, and return the numbers of the best fit."""
    fits = {kind: _fit(Denoiser(model.net, model.process, kind), trial) for kind in KINDS}
    best: Kind = min(KINDS, key=lambda kind: fits[kind]["kind_distance_stated"])
    return fits[best] | {
        "kind_stated": float(KINDS.index(model.kind)),
        "kind_found": float(KINDS.index(best)),
        "kind_distance": fits[best]["kind_distance_stated"],
        "kind_distance_stated": fits[model.kind]["kind_distance_stated"],
    }


def _fit(model: Denoiser, trial: Trial) -> Numbers:
    x0 = trial.draw(model, FEW)

    def ask(x: Tensor, sigma: float) -> Tensor:
        return model.predict(x.to(trial.noise.dtype), _levels(trial, sigma), trial.cond)

    return measure.kind(ask, x0, trial.noise.roll(1, 0), model.kind, (highest(model), ENDS[1]))
