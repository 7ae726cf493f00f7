"""The search finds the cheapest grid where costs add up, and better levels than the default's where they do not."""

import math
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest

from sampling.oracle import Array, mixture
from unnoise.errors import InputError
from unnoise.sampling import DDIM, IPNDM, State, run, start
from unnoise.sampling.defaults import measured
from unnoise.sampling.multistep import adams
from unnoise.sampling.registry import sampler
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.schedule_search import begin, extend, search, stepping
from unnoise.sampling.state import finish_step

LEVELS = (math.inf, 9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.2, 0.0)


@pytest.mark.parametrize("steps", range(1, 9))
def test_search_is_exact_where_costs_add_up(steps: int) -> None:
    random = Random(steps)
    costs = {pair: random.random() for pair in combinations(LEVELS, 2)}

    def step(state: State[float], prediction: float, level: float) -> State[float]:
        return finish_step(extend(state, level), state.x + costs[state.level, level])

    found = search(step, lambda x, level: x, 0.0, LEVELS, lambda x, i: x, steps)
    every = ((math.inf, *inner, 0.0) for inner in combinations(LEVELS[1:-1], steps - 1))
    assert found == min(every, key=lambda grid: sum(costs[pair] for pair in pairwise(grid)))


def test_search_predicts_once_a_cell() -> None:
    called: list[float] = []

    def predict(x: float, level: float) -> float:
        called.append(level)
        return 0.5 * x

    search(stepping(DDIM()), predict, 1.0, LEVELS, lambda x, i: abs(x), 4)
    assert len(called) == 1 + 3 * (len(LEVELS) - 4)
    assert called[0] == math.inf
    assert 0.0 not in called


@pytest.mark.parametrize("steps", [0, 9])
def test_search_refuses_more_steps_than_levels(steps: int) -> None:
    with pytest.raises(InputError, match=rf"steps {steps}: from 1 to 8"):
        search(stepping(DDIM()), lambda x, level: x, 1.0, LEVELS, lambda x, i: x, steps)


@pytest.mark.parametrize("rival", [DDIM(), IPNDM(3)])
def test_search_finds_better_levels_than_the_default(rival: DDIM | IPNDM) -> None:
    cloud, random = mixture((8,), modes=5), np.random.default_rng(1)
    levels = measured(32)
    noise, others = random.normal(size=(2, 64, 8))
    states = [noise]
    for here, there in pairwise(levels):
        states.append(cloud.solve(states[-1], here, there, steps=40))

    def distance(x: Array, i: int) -> float:
        return float(np.sqrt(((x - states[i]) ** 2).mean(1)).mean())

    found = search(stepping(rival), cloud.denoise, noise, levels, distance, 4)
    exact = cloud.solve(others, math.inf, 0.0)

    def error(grid: tuple[float, ...]) -> float:
        return float(np.sqrt(((run(rival, cloud.denoise, start(others, grid)) - exact) ** 2).mean(1)).mean())

    assert error(found) < 0.95 * error(measured(4))


@pytest.mark.parametrize("name", ["heun", "euler-a", "consistency"])
def test_samplers_with_two_calls_or_noise_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="must be deterministic with one network call a step"):
        stepping(sampler(name))


def test_fitted_with_adams_weights_is_ipndm() -> None:
    cloud, grid = mixture((4,)), measured(6)
    places = [1.0 if math.isinf(level) else level / (1 + level) for level in grid]
    rows = [adams([places[i - k] for k in range(min(i + 1, 3))], places[i + 1]) for i in range(5)]
    noise = np.random.default_rng(0).normal(size=(8, 4))
    fitted = run(Fitted((*map(tuple, rows), (1.0,))), cloud.denoise, start(noise, grid))
    assert np.allclose(fitted, run(IPNDM(3), cloud.denoise, start(noise, grid)), atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        (5, "a list of numbers for each step"),
        ([1.0], "a list of numbers for each step"),
        ([["a"]], "a list of numbers for each step"),
        ([[1.0, 0.5]], r"weights\[0\] has 2 numbers: 1 to 1"),
        ([[1.0], []], r"weights\[1\] has 0 numbers"),
        ([[math.nan]], r"weights\[0\] is \[nan\]"),
        ([[1.0], [1e9, 0.0]], r"weights\[1\] is"),
    ],
)
def test_fitted_refuses(weights: object, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Fitted(weights)  # type: ignore[arg-type]


def test_fitted_is_for_its_number_of_steps() -> None:
    with pytest.raises(InputError, match="grid of 2 steps: these weights were fitted to 1"):
        run(Fitted(((1.0,),)), lambda x, level: x, start(1.0, (math.inf, 1.0, 0.0)))


def test_begin_has_one_level_and_extend_adds_one() -> None:
    state = begin(1.0, math.inf)
    assert state.grid == (math.inf,)
    assert extend(state, 2.0).step == (math.inf, 2.0)
    assert stepping(DDIM())(state, 0.5, 0.0).done
