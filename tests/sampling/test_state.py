"""States can be pickled, resumed and branched, and share network calls with other runs."""

import math
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from sampling.checks import whole
from sampling.oracle import Array, mixture
from unnoise.errors import InputError
from unnoise.sampling import (
    DDIM,
    IPNDM,
    Ancestral,
    Consistency,
    DPMpp2M,
    DPMpp3M,
    DPMppSDE,
    Heun,
    Sampler,
    State,
    run,
    start,
)
from unnoise.sampling.grid import karras
from unnoise.sampling.state import finish_step

CLOUD = mixture((3,))
SAMPLERS: list[Sampler[Any, Any]] = [
    DDIM(),
    Ancestral(),
    Heun(),
    DPMpp2M(),
    DPMpp3M(),
    DPMppSDE(),
    IPNDM(),
    IPNDM(2),
    Consistency(),
]


def noise(seed: int, shape: tuple[int, ...] = (2, 3)) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def advanced(sampler: Sampler[Any, Any], state: State[Array], x0: Array) -> State[Array]:
    return sampler.advance(state, x0, noise(state.i, state.x.shape) if sampler.stochastic else None)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_pickled_at_every_stage_a_run_is_the_same(sampler: Sampler[Any, Any]) -> None:
    state = start(noise(9), whole(7))
    straight = run(sampler, CLOUD.denoise, state, lambda step, like: noise(step, like.shape))
    stages = []
    while not state.done:
        state, sampler = pickle.loads(pickle.dumps((state, sampler)))
        stages.append((state.i, state.stage))
        state = advanced(sampler, state, CLOUD.denoise(state.x, state.level))
    assert np.array_equal(state.x, straight)
    assert len(stages) == len(set(stages)) == (13 if sampler.queries == 2 else 7)


def test_interleaved_runs_are_the_same_as_alone() -> None:
    """Nine runs, each with another sampler, batch and grid, on the calls of the longest, with sigma: (B,)."""
    grids = [whole(3 + k) if k % 2 else karras(3 + k, 80.0, 0.02) for k in range(len(SAMPLERS))]
    live = [start(noise(20 + k, (1 + k % 3, 3)), grid) for k, grid in enumerate(grids)]
    alone = [
        run(sampler, CLOUD.denoise, state, lambda step, like: noise(step, like.shape))
        for sampler, state in zip(SAMPLERS, live, strict=True)
    ]
    calls = 0
    while any(not state.done for state in live):
        live_runs = [k for k, state in enumerate(live) if not state.done]
        x = np.concatenate([live[k].x for k in live_runs])
        sigma = np.concatenate([np.full(len(live[k].x), live[k].level) for k in live_runs])
        predictions = np.split(CLOUD.denoise(x, sigma), np.cumsum([len(live[k].x) for k in live_runs])[:-1])
        calls += 1
        for k, x0 in zip(live_runs, predictions, strict=True):
            live[k] = advanced(SAMPLERS[k], live[k], x0)
    assert calls == max(len(grid) - 1 for grid in grids)
    for state, x in zip(live, alone, strict=True):
        assert np.array_equal(state.x, x)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_advance_does_not_change_its_state(sampler: Sampler[Any, Any]) -> None:
    """Two branches from one state, in the middle of a run, are independent."""
    state = start(noise(9), whole(5))
    for _ in range(3):
        state = advanced(sampler, state, CLOUD.denoise(state.x, state.level))
    before = pickle.dumps(state)
    first = advanced(sampler, state, CLOUD.denoise(state.x, state.level))
    advanced(sampler, state, -CLOUD.denoise(state.x, state.level))
    again = advanced(sampler, state, CLOUD.denoise(state.x, state.level))
    assert pickle.dumps(state) == before
    assert np.array_equal(first.x, again.x)


def test_a_state_is_a_value() -> None:
    state = start(0.5, [math.inf, 1, 0])
    assert state == State(grid=(math.inf, 1.0, 0.0), i=0, x=0.5, level=math.inf)
    assert (state.done, state.step, state.stage, state.memory) == (False, (math.inf, 1.0), 0, ())
    with pytest.raises(FrozenInstanceError):
        state.i = 1  # type: ignore[misc]


def test_a_finished_run_stays_finished() -> None:
    state = State(grid=(1.0, 0.0), i=1, x=0.5, level=0.0)
    assert state.done
    assert run(DDIM(), lambda x, level: 1 / 0, state) == 0.5


def test_memory_is_dropped_where_the_grid_turns() -> None:
    grid = (1.0, 2.0, 3.0, 2.5, 0.0)
    kept = [finish_step(State(grid, i, 0.0, grid[i]), 0.0, memory=(0.1,)).memory for i in range(4)]
    assert kept == [(0.1,), (), (0.1,), (0.1,)]


@pytest.mark.parametrize("grid", [[1.0], [2.0, -1.0], [2.0, 0.0, 1.0], [2.0, 2.0, 0.0]])
def test_start_refuses_a_wrong_grid(grid: list[float]) -> None:
    with pytest.raises(InputError, match="grid"):
        start(0.0, grid)
