"""Checks of what a sampler claims: each raises AssertionError where the claim does not hold.

Used on the samplers themselves (test_samplers.py) and on samplers with one fault (test_mutations.py).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sampling.oracle import Array, mixture
from unnoise.errors import InputError
from unnoise.sampling.exponential import exponential_step
from unnoise.sampling.grid import exponential, flow_shift, karras
from unnoise.sampling.level import drift, eps_of, flow_of, glide, place, renew, renewal, signal, spread
from unnoise.sampling.state import Sampler, State, run, start

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


def mild(steps: int) -> tuple[float, ...]:
    """Return a grid between finite levels not far apart, for methods whose limit is reached late."""
    return karras(steps + 1, 5.0, 0.2, rho=3.0)[:-1]


def even(steps: int) -> tuple[float, ...]:
    """Return a grid between finite levels, uniform in lambda."""
    return exponential(steps + 1, 10.0, 0.1)[:-1]


def starts_at_inf(sampler: Sampler[Any, Any]) -> bool:
    """Return whether a sampler may start at inf: all but those that step along sigma itself."""
    return type(sampler).__name__ not in ("LMS", "EDMHeun") and getattr(sampler, "of", "flow") == "flow"


def widest(sampler: Sampler[Any, Any], steps: int) -> tuple[float, ...]:
    """Return the grid to 0 from the highest level at which a sampler may start: inf, or 80."""
    return flow_shift(steps, 2.5, 2.0, math.inf if starts_at_inf(sampler) else 80.0)


@cache
def exact(high: float, *levels: float) -> list[Array]:
    """Return the exact solution from POINTS at `high`, at each of the levels, which descend."""
    found = [POINTS]
    for here, there in pairwise((high, *levels)):
        found.append(TWO_MODES.solve(found[-1], here, there, steps=300 if len(levels) == 1 else 12))
    return found[1:]


def error(sampler: Sampler[Any, Any], grid: tuple[float, ...], warm: int = 0) -> float:
    """Return the root mean square error at the end of a run whose first `warm` steps are set to the exact solution."""
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

    The denoiser is affine, so a run is an affine form in the noise: x = (constant, start, noise of query 0, ..).
    """
    unit = np.eye(2 + (len(grid) - 1) * sampler.queries)

    def denoise(x: Array, level: float) -> Array:
        s, r = signal(level), spread(level)
        return DATA_MEAN * unit[0] + s * deviation**2 / (s**2 * deviation**2 + r**2) * (x - s * DATA_MEAN * unit[0])

    s, r = signal(grid[0]), spread(grid[0])
    first = s * DATA_MEAN * unit[0] + math.hypot(s * deviation, r) * unit[1]
    last = run(sampler, denoise, start(first, grid), lambda query, like: unit[2 + query])
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
    """A denoiser that always predicts c is solved in one step, and in many, from any level to any other."""
    wide = (math.inf, 0.7), (math.inf, 0.0), (math.inf, 3.0, 1.0, 0.5, 0.2, 0.1)
    for grid in ((2.0, 0.3), (4.0, 0.0), (9.0, 3.0, 1.0, 0.5, 0.2, 0.1), *(wide if starts_at_inf(sampler) else ())):
        unit = np.eye(2 + (len(grid) - 1) * sampler.queries)
        s, r = signal(grid[0]), spread(grid[0])
        form = run(
            sampler,
            lambda x, level, unit=unit: 1.3 * unit[0],
            start(1.3 * s * unit[0] + r * unit[1], grid),
            lambda query, like, unit=unit: unit[2 + query],
        )
        assert math.isclose(form[0], 1.3 * signal(grid[-1]), rel_tol=1e-14), "the constant is wrong"
        assert math.isclose(math.hypot(*form[1:]), spread(grid[-1]), rel_tol=1e-13, abs_tol=1e-15), "noise is lost"
        if not sampler.stochastic:
            assert math.isclose(form[1], spread(grid[-1]), rel_tol=1e-13, abs_tol=1e-15), "the noise is not kept"


def ends_on_prediction(sampler: Sampler[Any, Any]) -> None:
    """A run to sigma = 0 returns the last prediction bit for bit, so the kept part of an inpainting is exact."""
    predictions: list[Array] = []

    def denoise(x: Array, level: float) -> Array:
        predictions.append(TWO_MODES.denoise(x, level))
        return predictions[-1]

    x = run(sampler, denoise, start(POINTS, widest(sampler, 6)), lambda query, like: POINTS[::-1])
    assert np.array_equal(x, predictions[-1])


def gaussian_is_kept(sampler: Sampler[Any, Any]) -> None:
    """From pure noise at inf, the mean and the variance of Gaussian data come out, better with more steps."""
    for deviation in (0.3, 1.3):
        mean, _ = gaussian(sampler, widest(sampler, 200), deviation)
        assert abs(mean - DATA_MEAN) < 0.01, "the mean is off"
        coarse, fine = (off(sampler, widest(sampler, steps), deviation) for steps in (50, 200))
        assert fine < 0.1 / 2 ** min(sampler.order, 2), "the variance is off"
        assert fine < 0.4 * coarse, "more steps do not help"


def pure_noise_is_forgotten(sampler: Sampler[Any, Any]) -> None:
    """A step from inf that renews as much as DDPM does not depend on the x at its start."""
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


def churn_is_as_published(sampler: Any) -> None:
    """Two steps of EDM's algorithm 2 on its own axis, sigma, with its letters; 20 of churn, noise 1.003 times as large.

    Source: Karras et al. 2022, algorithm 2, here with S_churn/N above and below sqrt(2) - 1.
    """
    noise = np.random.default_rng(2).normal(size=POINTS.shape)
    for steps, inside in ((3, True), (100, True), (3, False)):
        low = 0.02 if not inside else 0.7
        grid = (3.0, 1.4 if inside else 0.05, low, *(low / (k + 2) for k in range(steps - 2)))
        state = start(POINTS, grid)
        while state.i < 2:
            state = sampler.advance(state, TWO_MODES.denoise(state.x, state.level), noise)
        gamma = min(20 / steps, math.sqrt(2) - 1)
        raised = [grid[0], *(t * (1 + gamma) if inside else t for t in grid[1:3])]
        x = POINTS / signal(grid[0])
        for i in range(2):
            d = (x - TWO_MODES.denoise(x * signal(raised[i]), raised[i])) / raised[i]
            tried = x + (grid[i + 1] - raised[i]) * d
            after = (tried - TWO_MODES.denoise(tried * signal(grid[i + 1]), grid[i + 1])) / grid[i + 1]
            x = x + (grid[i + 1] - raised[i]) * (d + after) / 2
            x = x + math.sqrt(raised[i + 1] ** 2 - grid[i + 1] ** 2) * 1.003 * noise
        assert math.isclose(state.level, raised[2], rel_tol=1e-12), "the level is not that of the churn"
        assert np.allclose(state.x, x * signal(raised[2]), rtol=1e-10), "x is not that of EDM"


def extrapolation_is_as_published(sampler: Any) -> None:
    """A second step of gradient estimation on its own axis, sigma. Source: Permenter & Yuan 2024, eq. 12, gamma 2."""
    grid = (5.0, 2.0, 0.5)
    state = start(POINTS, grid)
    while not state.done:
        state = sampler.advance(state, TWO_MODES.denoise(state.x, state.level))
    x, before = POINTS / signal(grid[0]), None
    for here, there in pairwise(grid):
        eps = (x - TWO_MODES.denoise(x * signal(here), here)) / here
        x = x + (there - here) * (eps if before is None else 2 * eps - before)
        before = eps
    assert np.allclose(state.x, x * signal(grid[-1]), rtol=1e-10)


def halves_are_one_step(sampler: Any) -> None:
    """With a known x0, a step in two halves is two ancestral steps, each with its own noise."""
    state = start(POINTS, (2.0, 0.5))
    first, second = np.random.default_rng(2).normal(size=(2, *POINTS.shape))
    found = sampler.advance(sampler.advance(state, 0.3 + 0 * POINTS, first), 0.3 + 0 * POINTS, second).x
    x = renew(POINTS, 0.3 + 0 * POINTS, first, 2.0, 1.0, renewal(2.0, 1.0))
    assert np.allclose(found, renew(x, 0.3 + 0 * POINTS, second, 1.0, 0.5, renewal(1.0, 0.5)), rtol=1e-12)


def first_step_is_ancestral(sampler: Any) -> None:
    """With one prediction, a step of reverse diffusion renews noise exactly as that of DDPM does."""
    found = sampler.advance(start(POINTS, (2.0, 0.5, 0.1)), 0.2 * POINTS, POINTS[::-1]).x
    assert np.allclose(found, renew(POINTS, 0.2 * POINTS, POINTS[::-1], 2.0, 0.5, renewal(2.0, 0.5)), rtol=1e-13)


def jump_is_as_published(sampler: Any) -> None:
    """Source: Song et al. 2023 (consistency models), algorithm 1: x0-hat and entirely fresh noise."""
    found = sampler.advance(start(POINTS, (2.0, 0.5, 0.1)), 0.2 * POINTS, POINTS[::-1]).x
    assert np.allclose(found, signal(0.5) * 0.2 * POINTS + spread(0.5) * POINTS[::-1], rtol=1e-13)


def has_memory(count: int) -> Callable[[Any], None]:
    """Return the check that the memory of a warm sampler has this many values, no more than it uses."""

    def check(sampler: Any) -> None:
        state = start(0.3, (9.0, 7.0, 5.0, 3.0, 2.0, 1.5, 1.0, 0.7))
        for _ in range(6):
            state = sampler.advance(state, 0.1, 0.2 if sampler.stochastic else None)
        assert len(state.memory) == count

    return check


def corrects_from_finite_levels(sampler: Any) -> None:
    """The prediction at the end of a step corrects the x of that step, but not after a step from inf."""
    for high in (math.inf, 4.0):
        noise = POINTS[::-1] if sampler.stochastic else None
        state = sampler.advance(start(POINTS, (high, 2.0, 1.0, 0.5)), POINTS, noise)
        predicted = state.x
        state = sampler.advance(state, 0.5 * POINTS, noise)
        assert np.array_equal(state.memory[0], predicted) == math.isinf(high)


def corrects_with_its_noise(sampler: Any) -> None:
    """The corrected step is the exponential one through both predictions, with the noise of the predicted step."""
    first, second = np.random.default_rng(2).normal(size=(2, *POINTS.shape))
    state = sampler.advance(start(POINTS, (4.0, 2.0, 1.0)), 0.2 * POINTS, first)
    corrected = sampler.advance(state, 0.5 * POINTS, second).memory[0]
    predictions = [(2.0, 0.5 * POINTS), (4.0, 0.2 * POINTS)]
    assert np.allclose(corrected, exponential_step(POINTS, predictions, (4.0, 2.0), sampler.tau, first), rtol=1e-12)


def rises_keep_gaussian_data(sampler: Any) -> None:
    """A grid that rises, to inf too, preserves the mean and the variance of Gaussian data."""
    down = flow_shift(60, 2.5, 2.0, sigma_min=0.6)
    for high in (3.0, math.inf):
        back = flow_shift(60, 2.5, 2.0, high, sigma_min=0.6)
        grid = (*down[:-1], *back[:-1], *flow_shift(60, 2.5, 2.0, high))
        mean, variance = gaussian(sampler, grid, 0.5)
        assert abs(mean - DATA_MEAN) < 0.01, "the mean is off"
        assert abs(variance / 0.25 - 1) < (0.12 if sampler.order == 1 else 0.003), "the variance is off"
    states = start(POINTS, (2.0, 0.5, 1.0, 0.3))
    called = []
    while not states.done:
        called.append(states.level)
        states = sampler.advance(states, POINTS, POINTS)
    assert called[:: sampler.queries] == [2.0, 1.0], "a rise has a query"


def rises_are_the_forward_process(sampler: Any) -> None:
    """With a known x0, a step down and a rise are two moves whose noises are independent of each other and of x."""
    here, low, high = 2.0, 0.5, 1.2
    unit = np.eye(3)
    found = start(unit[0], (here, low, high, 0.3))
    while found.i == 0:
        found = sampler.advance(found, 0 * unit[0], unit[1])
    assert (found.i, found.level) == (2, high)
    share = renewal(here, low) if type(sampler).__name__ == "RePaint" else 0.0
    kept = signal(high) / signal(low)
    down = renew(unit[0], 0 * unit[0], unit[1], here, low, share)
    risen = kept * down + math.sqrt(spread(high) ** 2 - (kept * spread(low)) ** 2) * unit[2]
    assert math.isclose(found.x[0], risen[0], rel_tol=1e-12), "the share of old noise is off"
    assert math.isclose(found.x[1], math.hypot(risen[1], risen[2]), rel_tol=1e-12), "the share of fresh noise is off"


def restarts_as_published(restarts: Any) -> None:
    """Source: Xu et al. 2023, algorithm 1: K times more through an interval of the grid, after its end."""
    grid = (9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.0)
    assert restarts(grid, 0.9, 3.3, 2) == (9.0, 5.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 1.0, 0.5, 0.0)
    assert restarts(grid, 0.5, 9.0) == (9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.0)
    for low, high, times, message in (
        (2.9, 3.1, 1, "no step"),
        (3.0, 1.0, 1, "0 < low < high < inf"),
        (0.0, 1.0, 1, "low 0.0, high 1.0"),
        (1.0, math.inf, 1, "high inf"),
        (math.nan, 1.0, 1, "low nan"),
        (0.5, 2.0, 0, "times 0"),
    ):
        with pytest.raises(InputError, match=message):
            restarts(grid, low, high, times)


def repaints_as_published(repaints: Any) -> None:
    """Source: Lugmayr et al. 2022, figure 9: a jump back of `jump` steps after each `jump`, `times` passes in all."""
    grid = (9.0, 5.0, 3.0, 2.0, 1.0, 0.0)
    first, second = (9.0, 5.0, 3.0), (3.0, 2.0, 1.0)
    assert repaints(grid, 2, 3) == (*first, *first, *first[:2], *second, *second, *second, 0.0)
    assert repaints(grid, 4, 1) == repaints(grid, 10, 10) == grid
    assert len(repaints(flow_shift(250, 2.5, 2.0))) == 251 + 24 * 9 * 11
    for jump, times, message in ((0, 2, "jump 0"), (2, 0, "times 0"), (2.5, 2, "jump 2.5")):
        with pytest.raises(InputError, match=message):
            repaints(grid, jump, times)


def weights_are_means(sampler: Any) -> None:
    """A second step against the mean of the line through two values, summed over 20000 slices of sigma."""
    grid = (4.0, 1.5, 0.4)
    value_of, carry, by = (eps_of, drift, lambda s: s) if sampler.of == "eps" else (flow_of, glide, place)
    first = sampler.advance(start(POINTS, grid), 0.2 * POINTS)
    found = sampler.advance(first, 0.1 * first.x)
    values = value_of(POINTS, 0.2 * POINTS, 4.0), value_of(first.x, 0.1 * first.x, 1.5)
    edges = np.exp(np.linspace(math.log(1.5), math.log(0.4), 20001))
    middles, (before, now) = np.sqrt(edges[1:] * edges[:-1]), (place(s ** (1 / sampler.rho)) for s in grid[:2])
    axes = middles ** (1 / sampler.rho) / (1 + middles ** (1 / sampler.rho))
    paces = np.diff([by(float(edge)) for edge in edges])
    share = ((axes - now) / (before - now) * paces).sum() / paces.sum()
    mean = share * values[0] + (1 - share) * values[1]
    assert np.allclose(found.x, carry(first.x, mean, 1.5, 0.4), rtol=1e-5)


def last_step_uses_two(sampler: Any) -> None:
    """A step to 0 extrapolates through two values, whatever the order: earlier ones change nothing."""
    ends = []
    for oldest in (0.0, 5.0):
        state = State((4.0, 2.0, 1.0, 0.0), 2, POINTS, 1.0, memory=(0.3 * POINTS, oldest * POINTS))
        ends.append(sampler.advance(state, 0.2 * POINTS).x)
    assert np.array_equal(*ends), "the third value counts"
    assert not np.allclose(ends[0], 0.2 * POINTS), "the second value does not count"


def correction_is_shared(sampler: Any) -> None:
    """The x of a step is that of the predictor and, by `share`, that of the correction; the last step uses `last`."""
    levels, values = (4.0, 2.0, 1.0, 0.5, 0.0), (0.2, -0.4, 0.3, 0.1)
    whole, none = (replace(sampler, share=share) for share in (1.0, 0.0))
    ends = {}
    for one in (sampler, whole, none):
        state = start(POINTS, levels[:3])
        for value in values[:2]:
            state = one.advance(state, value * POINTS)
        ends[one.share] = state.memory[0]
    assert np.allclose(ends[sampler.share], sampler.share * ends[1.0] + (1.0 - sampler.share) * ends[0.0])
    first = 1 / spread(4.0) - values[0] / place(4.0)
    x = glide(POINTS, first * POINTS, *levels[:2])
    arrived = flow_of(x, values[1] * POINTS, 2.0)
    assert np.allclose(ends[0.0], x), "the predictor is wrong"
    assert np.allclose(ends[1.0], glide(POINTS, (first * POINTS + arrived) / 2, *levels[:2])), "the correction is wrong"
    results = []
    for oldest in (0.0, 5.0):
        flows = [0.3 * POINTS, 0.2 * POINTS, 0.1 * POINTS]
        flows[sampler.last - 1 :] = [oldest * POINTS] * (4 - sampler.last)
        state = State(levels, 3, POINTS, 0.5, memory=(POINTS, *flows))
        results.append(none.advance(state, 0.2 * POINTS).x)
    assert np.array_equal(*results), "a flow beyond the last ones counts"


def applies_its_weights(sampler: Any) -> None:
    """Each step goes along the present and past flows with the weights of its row, on as many steps as it has rows."""
    grid = (4.0, 1.5, 0.6, 0.2)
    state, flows = start(POINTS, grid), []
    for i, row in enumerate(sampler.weights):
        flows.insert(0, flow_of(state.x, TWO_MODES.denoise(state.x, grid[i]), grid[i]))
        flow = sum(weight * past for weight, past in zip(row, flows, strict=True))
        expected = glide(state.x, flow, grid[i], grid[i + 1])
        state = sampler.advance(state, TWO_MODES.denoise(state.x, grid[i]))
        assert np.allclose(state.x, expected, rtol=1e-12)
    assert len(state.memory) == 2
    with pytest.raises(InputError, match="grid of 2 steps: these weights were fitted to 3"):
        sampler.advance(start(POINTS, grid[:3]), POINTS)
    for weights, message in (
        ((), "weights"),
        (((1.0, 0.5),), r"weights\[0\] has 2 numbers: 1 to 1"),
        (((1.0,), ()), r"weights\[1\] has 0 numbers: 1 to 2"),
        (((1001.0,),), r"weights\[0\] is \[1001.0\]"),
        (((1.0,), (-1001.0,)), r"weights\[1\]"),
        (3.0, "weights 3.0: a list"),
    ):
        with pytest.raises(InputError, match=message):
            type(sampler)(weights)
    assert type(sampler)(((1000.0,),)).weights == ((1000.0,),)
