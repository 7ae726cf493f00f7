"""Ask of a sampler what it claims: each check raises AssertionError where the claim does not hold.

Used on the samplers themselves (test_samplers.py) and on samplers with one fault put in (test_mutations.py).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from sampling.oracle import Array, mixture
from unnoise.sampling.grid import exponential, flow_shift, karras
from unnoise.sampling.level import signal, spread
from unnoise.sampling.state import Sampler, run, start

Grid = Callable[[int], tuple[float, ...]]

TWO_MODES = mixture((2,), modes=2)
POINTS = np.random.default_rng(0).normal(size=(8, 2))
DATA_MEAN = 0.8


def whole(steps: int) -> tuple[float, ...]:
    """Return a grid from inf to 0, start-up and last step included."""
    return flow_shift(steps, 2.5, 2.0)


def crowded(steps: int) -> tuple[float, ...]:
    """Return a grid between finite levels whose steps shrink towards the end."""
    return karras(steps + 1, 10.0, 0.1)[:-1]


def shifted(steps: int) -> tuple[float, ...]:
    """Return a grid between finite levels with its longest steps at the start."""
    return flow_shift(steps + 1, 2.5, 2.0, 8.0, 0.05)[:-1]


def even(steps: int) -> tuple[float, ...]:
    """Return a grid between finite levels, uniform in lambda."""
    return exponential(steps + 1, 10.0, 0.1)[:-1]


@cache
def exact(high: float, *levels: float) -> list[Array]:
    """Return the exact solution from POINTS at `high`, at each of the levels, which descend."""
    found = [POINTS]
    for here, there in pairwise((high, *levels)):
        found.append(TWO_MODES.solve(found[-1], here, there, steps=300 if len(levels) == 1 else 12))
    return found[1:]


def error(sampler: Sampler[Any, Any], grid: tuple[float, ...], warm: int = 0) -> float:
    """Return the root mean square error at the end of a run, its first `warm` steps set right by the exact solution."""
    state = start(POINTS, grid)
    truth = exact(*grid[: warm + 1]) if warm else []
    while not state.done:
        if 0 < state.i <= warm and state.stage == 0:
            state = replace(state, x=truth[state.i - 1])
        state = sampler.advance(state, TWO_MODES.denoise(state.x, state.level))
    return float(np.sqrt(((state.x - exact(grid[0], grid[-1])[0]) ** 2).mean()))


def slope(sampler: Sampler[Any, Any], grid: Grid, warm: int = 0, steps: int = 128) -> float:
    """Return the measured order: by how many halvings the error falls when the steps double from `steps`."""
    return math.log2(error(sampler, grid(steps), warm) / error(sampler, grid(2 * steps), warm))


def gaussian(sampler: Sampler[Any, Any], grid: tuple[float, ...], deviation: float) -> tuple[float, float]:
    """Return the exact mean and variance that a sampler gives to N(DATA_MEAN, deviation^2), with no sample drawn.

    The denoiser is affine, so a run is an affine form in the noise: x = (constant, start, noise of step 0, ..).
    """
    unit = np.eye(len(grid) + 1)

    def denoise(x: Array, level: float) -> Array:
        s, r = signal(level), spread(level)
        return DATA_MEAN * unit[0] + s * deviation**2 / (s**2 * deviation**2 + r**2) * (x - s * DATA_MEAN * unit[0])

    s, r = signal(grid[0]), spread(grid[0])
    first = s * DATA_MEAN * unit[0] + math.hypot(s * deviation, r) * unit[1]
    last = run(sampler, denoise, start(first, grid), lambda step, like: unit[2 + step])
    return float(last[0]), float(last[1:] @ last[1:])


def off(sampler: Sampler[Any, Any], grid: tuple[float, ...], deviation: float) -> float:
    """Return the relative error of that variance at the end of a grid."""
    s, r = signal(grid[-1]), spread(grid[-1])
    true = (s * deviation) ** 2 + r**2
    return abs(gaussian(sampler, grid, deviation)[1] - true) / true


def weak_slope(sampler: Sampler[Any, Any], grid: Grid, deviation: float, steps: int = 128) -> float:
    """Return the measured weak order in the variance of Gaussian data."""
    return math.log2(off(sampler, grid(steps), deviation) / off(sampler, grid(2 * steps), deviation))


def constant_is_exact(sampler: Sampler[Any, Any]) -> None:
    """A denoiser that always answers c is solved in one step, and in many, from anywhere to anywhere."""
    for grid in ((math.inf, 0.7), (2.0, 0.3), (math.inf, 0.0), (4.0, 0.0), (math.inf, 3.0, 1.0, 0.5, 0.2, 0.1)):
        unit = np.eye(len(grid) + 1)
        s, r = signal(grid[0]), spread(grid[0])
        form = run(
            sampler,
            lambda x, level, unit=unit: 1.3 * unit[0],
            start(1.3 * s * unit[0] + r * unit[1], grid),
            lambda step, like, unit=unit: unit[2 + step],
        )
        assert math.isclose(form[0], 1.3 * signal(grid[-1]), rel_tol=1e-14), "the constant is missed"
        assert math.isclose(math.hypot(*form[1:]), spread(grid[-1]), rel_tol=1e-13, abs_tol=1e-15), "noise is lost"
        if not sampler.stochastic:
            assert math.isclose(form[1], spread(grid[-1]), rel_tol=1e-13, abs_tol=1e-15), "the noise is not kept"


def lands_on_prediction(sampler: Sampler[Any, Any]) -> None:
    """A run to sigma = 0 returns the last prediction bit for bit, so what a mask keeps is kept."""
    answers: list[Array] = []

    def denoise(x: Array, level: float) -> Array:
        answers.append(TWO_MODES.denoise(x, level))
        return answers[-1]

    x = run(sampler, denoise, start(POINTS, whole(6)), lambda step, like: POINTS[::-1])
    assert np.array_equal(x, answers[-1])


def gaussian_is_kept(sampler: Sampler[Any, Any]) -> None:
    """From pure noise at inf, the mean and the variance of Gaussian data come out, better with more steps."""
    for deviation in (0.3, 1.3):
        mean, _ = gaussian(sampler, whole(100), deviation)
        assert abs(mean - DATA_MEAN) < 0.01, "the mean is off"
        coarse, fine = off(sampler, whole(50), deviation), off(sampler, whole(100), deviation)
        assert fine < 0.2 / 2 ** min(sampler.order, 2), "the variance is off"
        assert fine < 0.65 * coarse, "more steps do not help"


def pure_noise_is_forgotten(sampler: Sampler[Any, Any]) -> None:
    """A step from inf that renews all that DDPM renews keeps nothing of where it began."""
    assert sampler.advance(start(1.0, (math.inf, 2.0)), 0.0, 0.0).x == 0.0


def consistency_function_is_exact(sampler: Sampler[Any, Any]) -> None:
    """The function that carries Gaussian data to the end of the flow gives them on any grid, one that rises too."""
    unit = np.eye(6)

    def jump(x: Array, level: float) -> Array:
        s, r = signal(level), spread(level)
        return DATA_MEAN * unit[0] + 1.7 / math.hypot(1.7 * s, r) * (x - s * DATA_MEAN * unit[0])

    for grid in ((math.inf, 0.0), (math.inf, 1.0, 0.3, 0.0), (math.inf, 0.5, 2.0, 0.0)):
        x = run(sampler, jump, start(unit[1], grid), lambda step, like: unit[2 + step])
        assert math.isclose(x[0], DATA_MEAN), "the mean is off"
        assert math.isclose(math.hypot(*x[1:]), 1.7), "the deviation is off"
