"""Search for the best levels of a sampler, by dynamic programming along fine trajectories.

    cell (j, i)      the best state found at levels[i] after j steps, with one prediction at it
    cell (j, i)  =   min over k < i of  distance(the step from cell (j - 1, k) to levels[i],  i)

where `distance` measures how far the step ends from the fine trajectory. A cell is a whole state, the sampler's memory
included, so each candidate is measured on the steps that a run would take. The prediction of a cell is used for the
steps to all later levels, so the search costs at most steps·len(levels) network calls, and no gradient.
Source: Pei et al. 2025 (optimal stepsize, arXiv 2503.21774), algorithm 1: errors of the student's own states; Chen et
al. 2024 (GITS, arXiv 2405.11326), section 4, for the search along fine trajectories of a few dozen seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from unnoise.errors import InputError
from unnoise.sampling.state import Sampler, State

X = TypeVar("X")
Predict = Callable[[X, float], X]  # (x, level) -> x0-hat
Step = Callable[[State[X], X, float], State[X]]  # (state, its prediction, next level) -> the state at that level


def search(
    step: Step[X],
    predict: Predict[X],
    noise: X,
    levels: Sequence[float],
    distance: Callable[[X, int], float],
    steps: int,
) -> tuple[float, ...]:
    """Return the grid of `steps` of the levels, from the first to the last, that ends nearest to the trajectory.

    Args:
        step: one step of the sampler, see `stepping`.
        predict: (x, level) -> x0-hat.
        noise: x at levels[0].
        levels: candidates, descending.
        distance: (x, i) -> how far x is from the trajectory at levels[i].
        steps: from 1 to len(levels) - 1, otherwise InputError.
    """
    last = len(levels) - 1
    if not 1 <= steps <= last:
        raise InputError(f"steps {steps}: from 1 to {last}, the number of candidate levels less one")
    cells = {0: (begin(noise, levels[0]), predict(noise, levels[0]))}
    for j in range(1, steps):
        found = {i: _nearest(step, cells, levels, distance, i) for i in range(j, last - (steps - j) + 1)}
        cells = {i: (state, predict(state.x, state.level)) for i, state in found.items()}
    return _nearest(step, cells, levels, distance, last).grid


def begin(noise: X, level: float) -> State[X]:
    """Return the first state of a run whose later levels are not chosen yet."""
    return State(grid=(level,), i=0, x=noise, level=level)


def stepping(sampler: Sampler[Any, Any]) -> Step[Any]:
    """Return the step of a sampler to any level.

    Raises InputError for a stochastic sampler, and for more than one query a step: the second query depends on the end
    of the step, so its prediction could not be used for several levels.
    """
    if sampler.stochastic or sampler.queries != 1:
        raise InputError(
            f"sampler {sampler!r}: must be deterministic with one network call a step, as ipndm, dpmpp-2m or ddim"
        )
    return lambda state, prediction, level: sampler.advance(extend(state, level), prediction)


def extend(state: State[X], level: float) -> State[X]:
    """Append the next level to the grid of a state that is at the end of its grid."""
    return replace(state, grid=(*state.grid, level))


def _nearest(
    step: Step[X],
    cells: dict[int, tuple[State[X], X]],
    levels: Sequence[float],
    distance: Callable[[X, int], float],
    i: int,
) -> State[X]:
    ends = (step(state, prediction, levels[i]) for k, (state, prediction) in cells.items() if k < i)
    return min(ends, key=lambda state: distance(state.x, i))
