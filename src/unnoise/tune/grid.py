"""Fit a grid to a denoiser for a number of steps, and with it the weights of the steps or, if wanted, the levels alone.

1. Follow a few dozen seeds in fine steps to where they end (`teacher`).
2. For the levels alone, find some by dynamic programming (`sampling.fit`), with the default grid as a rival; otherwise
   weigh the steps of the default grid and of a few others one by one (`weigh`), with the usual weights as a rival.
3. Move levels, and weights if there are any, to where runs end nearest (`refine`).

No gradient is asked for. What is fitted are a few dozen numbers, to thousands of coordinates of each seed, so that
other seeds and prompts gain as much: `tune.model` measures it on some that were left out. On the embedded model at 8
steps, 64 others end this far from converged x0, by what was fitted to 32 seeds:

    ipndm-3 .0269     ab .0175     levels of ipndm-3 .0194     weights, one by one .0107     levels and weights .0078
"""

from typing import Any

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.sampling.defaults import default
from unnoise.sampling.grid import flow_shift
from unnoise.sampling.schedule_search import Predict, search, stepping
from unnoise.sampling.state import Sampler
from unnoise.tune.gauss_newton import FittedWeights, calls, refine, walk
from unnoise.tune.reference import FINE, STRIDE, Teacher, apart, asking
from unnoise.tune.step_weights import classical, weighed

ORDER = 3  # flows that are weighed at least; on the embedded model at 8 steps more of them bring other seeds no nearer
SHIFTS = 2.0, 2.5  # of grids to begin from, beside the default's: where levels end depends on where they begin
STEPS = FINE // STRIDE  # at most: the steps between the candidates


@torch.no_grad()
def fit(denoise: Denoise, teacher: Teacher, steps: int, sampler: Sampler[Any, Any] | None = None) -> FittedWeights:
    """Find the grid of `steps` steps, 1 to STEPS, on which runs end nearest to the teacher, which `trace` made.

    sampler: the one whose levels are fitted; None fits the weights of the steps as well, which comes much nearer.
    Raises InputError for a sampler that draws noise or asks twice a step, NonFiniteError where the denoiser fails.
    """
    ask = asking(denoise)
    ends = teacher.levels[0], teacher.levels[-2]
    usual, grid = default(steps, *ends)
    if sampler is None:
        order = max(ORDER, usual.order)
        grids = [grid, *(flow_shift(steps, shift, 2.0, *ends) for shift in SHIFTS)]
        rivals = [FittedWeights(weighed(ask, teacher, each, order), each) for each in grids]
        rivals.append(FittedWeights(classical(grid, order), grid))
    else:
        rivals = [FittedWeights(sampler, _searched(ask, teacher, steps, sampler)), FittedWeights(sampler, grid)]
    runs = [walk(rival, ask, teacher, []) for rival in rivals]
    return refine(min(runs, key=lambda run: run.error), ask, teacher).fit


def expected(steps: int, searches: bool) -> int:
    """Count the calls that a fit makes at most, of all seeds at once."""
    return (3 + 2 * len(SHIFTS)) * steps + searches * steps * (STEPS - steps + 1) + calls(steps)


def _searched(ask: Predict[Tensor], teacher: Teacher, steps: int, sampler: Sampler[Any, Any]) -> tuple[float, ...]:
    def away(x: Tensor, i: int) -> float:
        return float(apart(x, teacher.states[i * STRIDE]).mean())

    return search(stepping(sampler), ask, teacher.states[0], teacher.levels[::STRIDE], away, steps)
