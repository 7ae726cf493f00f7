"""The default sampler and grid for a number of network calls, chosen by measurement.

Chosen on 42 Gaussian mixtures of fourteen kinds, on Stable Diffusion's noise schedule and from sigma = inf: few and
many modes, narrow and wide, in 2 to 300 dimensions, with tails, mixtures of scales, unequal weights and points of data
sets. The criterion was the error against the exact solution, as a ratio to the best scheduler of diffusers.
Source: docs/decisions/0013-abm.md has the ratios; bench/samplers.py measures them on mixtures of any seed, and
tests/sampling/bench.py prints errors from several ranges, with random errors in every prediction too.
"""

import math
from typing import Any

from unnoise.errors import InputError
from unnoise.sampling.grid import flow_shift
from unnoise.sampling.samplers.ab import AB
from unnoise.sampling.samplers.abm import ABM
from unnoise.sampling.state import Sampler

MOST = 1 << 62
NARROW = 40.0  # the highest sigma_max of a narrow range; that of Stable Diffusion is 14.6
LONG = 34  # calls, above which a narrow range needs more levels near its lowest one
Choice = tuple[int, Sampler[Any, Any]]  # (largest number of calls, sampler)
CORRECTED = ABM(2, last=1)
UNGUIDED: tuple[Choice, ...] = (
    (5, AB(2, rho=1.0)), (9, ABM(2, last=1, share=0.75)), (15, CORRECTED), (LONG, ABM(3)), (MOST, ABM(4)),
)  # fmt: skip
GUIDED: tuple[Choice, ...] = ((16, AB()), (MOST, CORRECTED))


def default(
    calls: int, sigma_max: float, sigma_min: float, guided: bool = False
) -> tuple[Sampler[Any, Any], tuple[float, ...]]:
    """Return the sampler and the grid with the lowest measured error for a number of network calls.

    Args:
        calls: from 1 up.
        sigma_max, sigma_min: the range of the model, 0 <= sigma_min < sigma_max <= inf.
        guided: whether predictions are led away from a second one, which bends the path: a lower order is then better.

    Raises InputError for an empty range or less than one call.
    """
    if not isinstance(calls, int) or calls < 1:
        raise InputError(f"calls {calls!r}: a whole number from 1 up")
    sampler = next(sampler for most, sampler in (GUIDED if guided else UNGUIDED) if calls <= most)
    if not guided and calls > LONG and sigma_max <= NARROW:
        return sampler, flow_shift(calls, 8.0, 6.0, sigma_max, sigma_min)
    return sampler, measured(calls, sigma_max, sigma_min)


def measured(steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0) -> tuple[float, ...]:
    """Space the levels as measured to be best: flow time with shift 3 and rho 2.

    Ten steps from inf call the network at  inf 12.8 5.33 2.88 1.69 1.00 0.57 0.30 0.12 0.030.
    """
    return flow_shift(steps, 3.0, 2.0, sigma_max, sigma_min)
