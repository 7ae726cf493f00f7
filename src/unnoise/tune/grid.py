"""Fit a grid to a denoiser for a number of steps, and with it the weights of the steps or, if wanted, the levels alone.

1. Follow a few dozen seeds in fine steps to where they end (`teacher`).
2. Find levels by dynamic programming (`sampling.fit`); the default grid stays a rival.
3. Move the levels of the better one to where runs end nearest (`refine`), the weights fitted anew each time (`weigh`).

No gradient is asked for. What is fitted are a few dozen numbers, to thousands of coordinates of each seed, so that
other seeds and prompts gain as much: `tune.model` measures it on some that were left out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unnoise.diffusion.model import Denoise
from unnoise.sampling.choose import measured
from unnoise.sampling.fit import begin, search, stepping
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.state import Sampler, run, start
from unnoise.tune.refine import ROUNDS, refine, walk
from unnoise.tune.teacher import FINE, STRIDE, Teacher, apart, asking
from unnoise.tune.weigh import weighing, weights

ORDER = 3  # flows that are weighed; on the embedded model at 8 steps more of them bring other seeds no nearer
STEPS = FINE // STRIDE  # at most: the steps between the candidates


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted: a sampler and the grid that it is for."""

    sampler: Sampler[Any, Any]
    grid: tuple[float, ...]


@torch.no_grad()
def fit(denoise: Denoise, teacher: Teacher, steps: int, sampler: Sampler[Any, Any] | None = None) -> Fit:
    """Find the grid of `steps` steps, 1 to STEPS, on which a run ends nearest to the teacher, which `trace` made.

    sampler: the one whose levels are fitted; None fits the weights of its steps as well, which comes much nearer.
    Raises Refusal for a sampler that draws noise or asks twice a step, NotFinite where the denoiser fails.
    """
    ask, noise = asking(denoise), teacher.states[0]
    step = weighing(teacher, ORDER) if sampler is None else stepping(sampler)

    def away(x: Tensor, i: int) -> float:
        return float(apart(x, teacher.states[i * STRIDE]).mean())

    first = begin(noise, teacher.levels[0])
    opened = [(first, ask(noise, first.level))]
    rivals = [
        search(step, ask, noise, teacher.candidates, away, steps),
        measured(steps, teacher.levels[0], teacher.levels[-2]),
    ]
    runs = [walk(step, ask, teacher, grid, opened) for grid in rivals]
    best = refine(step, ask, teacher, min(runs, key=lambda made: made.error))
    if sampler is None:
        sampler = Fitted(weights(teacher, best.visited, best.grid, ORDER))
    return Fit(sampler, best.grid)


def expected(steps: int) -> int:
    """Count the calls that a fit makes at most, of all seeds at once."""
    searched = (steps - 1) * (STEPS - steps + 1) + 1
    return 1 + searched + 2 * steps + ROUNDS * steps * (steps + 3) // 2


@torch.no_grad()
def ends(denoise: Denoise, noise: Tensor, fitted: Fit) -> Tensor:
    """Give where runs end that take few steps: x0: (B, *d)."""
    return run(fitted.sampler, asking(denoise), start(noise, fitted.grid))
