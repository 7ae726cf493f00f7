"""Find the levels that a run should visit, by dynamic programming along fine trajectories.

    cell (j, i)      the best way found to stand at levels[i] after j steps, with one prediction asked there
    cell (j, i)  =   min over k < i of  away(the step from cell (j - 1, k) to levels[i],  i)

where `away` measures how far from the fine trajectory the step lands. A cell is a state, what the sampler remembers
included, so each way is judged by the steps that it would really take; and since the prediction of a cell serves its
steps to all later levels, the search costs at most steps·len(levels) questions, and no gradient.
Source: Pei et al. 2025 (optimal stepsize, arXiv 2503.21774), algorithm 1: errors of the student's own states; Chen et
al. 2024 (GITS, arXiv 2405.11326), section 4, for the search along fine trajectories of a few dozen seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from unnoise.errors import InputError
from unnoise.sampling.state import Sampler, State

X = TypeVar("X")
Ask = Callable[[X, float], X]  # (x, level) -> x0-hat
Step = Callable[[State[X], X, float], State[X]]  # (state, its prediction, where to go) -> the state there


def search(
    step: Step[X], ask: Ask[X], noise: X, levels: Sequence[float], away: Callable[[X, int], float], steps: int
) -> tuple[float, ...]:
    """Return the grid of `steps` steps, from levels[0] to levels[-1] by way of others, that ends nearest.

    levels: candidates, descending; away(x, i): how far x is from where it should be at levels[i].
    Raises InputError where there are fewer candidates than steps.
    """
    last = len(levels) - 1
    if not 1 <= steps <= last:
        raise InputError(f"steps {steps}: from 1 to {last}, the steps between the levels to choose from")
    cells = {0: (begin(noise, levels[0]), ask(noise, levels[0]))}
    for j in range(1, steps):
        found = {i: _nearest(step, cells, levels, away, i) for i in range(j, last - (steps - j) + 1)}
        cells = {i: (state, ask(state.x, state.level)) for i, state in found.items()}
    return _nearest(step, cells, levels, away, last).grid


def begin(noise: X, level: float) -> State[X]:
    """Open a run whose grid is not chosen yet, but for its first level."""
    return State(grid=(level,), i=0, x=noise, level=level)


def stepping(sampler: Sampler[Any, Any]) -> Step[Any]:
    """Return the way that a sampler goes on to any level. Raises InputError unless it asks once a step and draws nothing.

    A step that asks twice asks where it lands, so that no prediction could serve several steps.
    """
    if sampler.stochastic or sampler.queries != 1:
        raise InputError(
            f"sampler {sampler!r}: one that asks once a step and draws no noise, as ipndm, dpmpp-2m or ddim"
        )
    return lambda state, prediction, level: sampler.advance(onward(state, level), prediction)


def onward(state: State[X], level: float) -> State[X]:
    """Set where the open step of a run goes, whose grid ends where the run stands."""
    return replace(state, grid=(*state.grid, level))


def _nearest(
    step: Step[X],
    cells: dict[int, tuple[State[X], X]],
    levels: Sequence[float],
    away: Callable[[X, int], float],
    i: int,
) -> State[X]:
    landed = (step(state, prediction, levels[i]) for k, (state, prediction) in cells.items() if k < i)
    return min(landed, key=lambda state: away(state.x, i))
