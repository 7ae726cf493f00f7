"""The default: it makes the number of calls, stays in the range, and beats the other samplers."""

import math
from typing import Any

import numpy as np
import pytest

from sampling.bench import Case, errors, mixtures
from sampling.oracle import Mixture, scaled
from unnoise.errors import InputError
from unnoise.sampling import DDIM, DEIS, IPNDM, DPMpp2M, Heun, UniPC, calls, default
from unnoise.sampling.defaults import measured
from unnoise.sampling.grid import exponential, flow_shift, karras


@pytest.mark.parametrize(("high", "low"), [(math.inf, 0.0), (math.inf, 0.001), (80.0, 0.002), (14.6, 0.03), (1.0, 0.0)])
def test_it_makes_exactly_the_calls_and_stays_in_the_range(high: float, low: float) -> None:
    for budget in range(1, 60):
        sampler, grid = default(budget, high, low)
        assert calls(sampler, grid) == budget
        assert not sampler.stochastic
        assert (grid[0], grid[-1]) == (high, 0.0)
        assert budget == 1 or grid[-2] >= low * (1 - 1e-9)


@pytest.fixture(scope="module", params=[math.inf, 80.0])
def field(request: Any) -> tuple[float, list[Case]]:
    """Return the first level, and six of the mixtures of the bench with noise and exact solutions."""
    cases = []
    for cloud in [mixtures()[k] for k in (0, 1, 2, 5, 10, 11)]:
        noise = np.random.default_rng(3).normal(size=(16, *cloud.means.shape[1:]))
        cases.append((cloud, noise, cloud.solve(noise, request.param, 0.0, steps=80)))
    return request.param, cases


@pytest.mark.parametrize("budget", [3, 4, 5, 8, 12, 20])
def test_it_beats_the_others(budget: int, field: tuple[float, list[Case]]) -> None:
    """Each other sampler on the better of two grids, in the measure of the bench."""
    high, cases = field
    best = errors(*default(budget, high, 0.0), cases, wrong=0.0)
    for sampler in (DDIM(), Heun(), DPMpp2M()):
        steps = (budget + 1) // 2 if sampler.queries == 2 else budget
        for grid in (measured(steps, high), flow_shift(steps, sigma_max=high)):
            assert best < 0.9 * errors(sampler, grid, cases, wrong=0.0)


def test_the_grid_is_that_of_its_docstring() -> None:
    levels = "inf 12.8 5.33 2.88 1.69 1.00 0.57 0.30 0.12 0.030"
    assert levels in (measured.__doc__ or "")
    assert [float(level) for level in levels.split()] == pytest.approx(measured(10)[:-1], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 80.0, 0.1), "calls"), ((2.5, 80.0, 0.1), "calls"), ((5, 1.0, 2.0), "sigma_min")],
)
def test_nonsense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        default(*arguments)


KINDS = {  # of mixtures: dimensions, modes, lowest and highest deviation
    "few narrow modes in 16 dimensions": (16, 6, 0.02, 0.05),
    "many modes in a plane": (2, 40, 0.05, 0.1),
    "wide modes": (3, 6, 0.2, 0.9),
    "many dimensions": (256, 12, 0.4, 1.2),
    "scales": (8, 5, 0.1, 3.0),
}
# the largest ratio over kinds of the error of `default` to the best of the rivals on that kind, and the geometric mean
BOUNDS = {8: (1.5, 0.9), 10: (1.6, 0.95), 20: (1.45, 0.7), 50: (1.15, 0.5)}


def held_out(kind: str, seed: int) -> Case:
    """Draw a mixture that nothing was chosen on, with noise and its exact solution."""
    rng = np.random.default_rng([seed, *kind.encode()])
    dims, modes, low, high = KINDS[kind]
    deviations = np.exp(rng.uniform(math.log(low), math.log(high), (modes, dims)))
    if kind == "scales":
        deviations = np.geomspace(low, high, modes)[:, None] * np.ones(dims)
    cloud = scaled(Mixture(rng.dirichlet(np.full(modes, 3.0)), rng.normal(size=(modes, dims)), deviations))
    noise = rng.normal(size=(8, dims))
    exact = cloud.solve(cloud.solve(noise, 14.6146, 0.5, steps=60), 0.5, 0.0, steps=120)
    return cloud, noise, exact


@pytest.mark.parametrize("budget", BOUNDS)
def test_it_beats_the_best_rival_of_each_kind(budget: int) -> None:
    high, low = 14.6146, 0.0292
    grids = karras(budget, high, low), exponential(budget, high, low), measured(budget, high, low)
    rivals = [UniPC(), UniPC(3), DEIS(), DPMpp2M(), IPNDM()]
    ratios = []
    for kind in KINDS:
        case = [held_out(kind, 731)]
        best = min(errors(rival, grid, case, wrong=0.0) for rival in rivals for grid in grids)
        ratios.append(errors(*default(budget, high, low), case, wrong=0.0) / best)
    worst, mean = BOUNDS[budget]
    assert max(ratios) < worst, dict(zip(KINDS, ratios, strict=True))
    assert math.exp(np.log(ratios).mean()) < mean, dict(zip(KINDS, ratios, strict=True))
