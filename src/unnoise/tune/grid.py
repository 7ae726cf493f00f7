"""Fit the levels of a grid and the weights of its steps, or the levels alone, to a denoiser and a number of steps.

1. Trace a few dozen seeds in fine steps (`reference`).
2. For levels alone, search by dynamic programming (`sampling.schedule_search`), and compare with the default grid.
   Otherwise fit the weights of the default grid and of a few others step by step (`step_weights`), and compare with the
   weights of IPNDM.
3. Improve the best of them, levels and weights together (`gauss_newton`).

No gradient of the network is needed. A few dozen numbers are fitted to thousands of coordinates of each seed, so that
other seeds and prompts gain as much; `tune.model` measures it on held-out ones. On the embedded model at 8 steps,
fitted to 32 seeds, the distance of 64 other seeds to converged x0 is:

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
from unnoise.tune.gauss_newton import FittedWeights, gauss_newton, max_calls, run_fit
from unnoise.tune.reference import FINE, STRIDE, Reference, at_one_level, rms_difference
from unnoise.tune.step_weights import fit_step_weights, ipndm_weights

ORDER = 3  # least number of flows in a step; on the embedded model at 8 steps more of them do not help other seeds
SHIFTS = 2.0, 2.5  # of further grids to start from: the fitted levels depend on the first ones
MAX_STEPS = FINE // STRIDE  # the number of candidate levels


@torch.no_grad()
def fit(denoise: Denoise, reference: Reference, steps: int, sampler: Sampler[Any, Any] | None = None) -> FittedWeights:
    """Find the grid of `steps` steps on which runs end closest to the reference.

    Args:
        reference: of `trace`.
        steps: 1 to MAX_STEPS.
        sampler: fit the levels alone, for this sampler; None also fits the weights of the steps, which is much closer.

    Raises:
        InputError: the sampler is stochastic or needs two network calls a step.
        NonFiniteError: the denoiser returns NaN or infinity.
    """
    ask = at_one_level(denoise)
    ends = reference.levels[0], reference.levels[-2]
    default_sampler, grid = default(steps, *ends)
    if sampler is None:
        order = max(ORDER, default_sampler.order)
        grids = [grid, *(flow_shift(steps, shift, 2.0, *ends) for shift in SHIFTS)]
        candidates = [FittedWeights(fit_step_weights(ask, reference, each, order), each) for each in grids]
        candidates.append(FittedWeights(ipndm_weights(grid, order), grid))
    else:
        candidates = [
            FittedWeights(sampler, _search_levels(ask, reference, steps, sampler)),
            FittedWeights(sampler, grid),
        ]
    runs = [run_fit(candidate, ask, reference, []) for candidate in candidates]
    return gauss_newton(min(runs, key=lambda run: run.error), ask, reference).fit


def expected_calls(steps: int, searches: bool) -> int:
    """Return the largest number of network calls of a fit, each with all seeds."""
    return (3 + 2 * len(SHIFTS)) * steps + searches * steps * (MAX_STEPS - steps + 1) + max_calls(steps)


def _search_levels(
    ask: Predict[Tensor], reference: Reference, steps: int, sampler: Sampler[Any, Any]
) -> tuple[float, ...]:
    def distance(x: Tensor, i: int) -> float:
        return float(rms_difference(x, reference.states[i * STRIDE]).mean())

    return search(stepping(sampler), ask, reference.states[0], reference.levels[::STRIDE], distance, steps)
