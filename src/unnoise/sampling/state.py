"""The state of a run between two network calls, and the loop that drives a sampler.

A sampler never calls a network. `State` holds what to evaluate next, x at a level. The caller evaluates it, alone or in
a batch with other runs, and passes the prediction to `advance`, which returns the next state. States are values: they
can be pickled and branched, and a run can be paused at any of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from unnoise.errors import InputError
from unnoise.sampling.grid import check_grid

X = TypeVar("X")
P = TypeVar("P", contravariant=True)


@dataclass(frozen=True, slots=True)
class State(Generic[X]):
    """The state of a run: i steps of the grid are complete, and the next query is x: (B, *d) at level.

    grid: N + 1 levels. stage: number of the query within its step. memory: past values of the sampler, newest first.
    """

    grid: tuple[float, ...]
    i: int
    x: X
    level: float
    stage: int = 0
    memory: tuple[X, ...] = ()

    @property
    def done(self) -> bool:
        """True if every step is complete, so that x is the result."""
        return self.i == len(self.grid) - 1

    @property
    def step(self) -> tuple[float, float]:
        """Return the levels where the open step begins and ends."""
        return self.grid[self.i], self.grid[self.i + 1]


class Sampler(Protocol[X, P]):
    """An update rule: `advance` takes a state and the prediction at it, and returns the next state. It is pure.

    order: errors fall as steps^-order, in distribution if stochastic; each module states where that holds.
    queries: network calls a step. stochastic: whether `advance` takes noise.
    """

    @property
    def order(self) -> int: ...
    @property
    def queries(self) -> int: ...
    @property
    def stochastic(self) -> bool: ...
    def advance(self, state: State[X], prediction: P, noise: X | None = None) -> State[X]: ...


def start(noise: X, grid: Sequence[float]) -> State[X]:
    """Return the first state of a run. noise: N(0, I), or any x at the first level of the grid: (B, *d), or one number.

    Raises InputError for a grid that `grid.check_grid` does not accept. The grid may rise.
    """
    levels = check_grid(grid)
    return State(grid=levels, i=0, x=noise, level=levels[0])


def finish_step(state: State[X], x: X, memory: tuple[X, ...] = ()) -> State[X]:
    """Return the state after a finished step: x where the step ended; memory is dropped where the grid turns."""
    i = state.i + 1
    turns = i + 1 < len(state.grid) and (state.grid[i] > state.grid[i + 1]) != (state.grid[i - 1] > state.grid[i])
    return State(grid=state.grid, i=i, x=x, level=state.grid[i], memory=() if turns else memory)


def run(
    sampler: Sampler[Any, Any],
    denoise: Callable[[X, float], X],
    state: State[X],
    draw: Callable[[int, X], X] | None = None,
) -> X:
    """Advance a state to its end: denoise(x, level) -> x0, and draw(query, like) -> noise for a stochastic sampler.

    Raises InputError when the sampler is stochastic and draw is missing.
    """
    while not state.done:
        noise = draw(query(sampler, state), state.x) if draw is not None and sampler.stochastic else None
        state = sampler.advance(state, denoise(state.x, state.level), noise)
    return state.x


def query(sampler: Sampler[Any, Any], state: State[Any]) -> int:
    """Return the number of the next query, which names its noise: the step, for samplers with one query a step."""
    return state.i * sampler.queries + state.stage


def calls(sampler: Sampler[Any, Any], grid: Sequence[float]) -> int:
    """Count the network calls of a whole run, by running it on one number."""
    state, count = start(0.0, grid), 0
    while not state.done:
        state, count = sampler.advance(state, 0.0, 0.0 if sampler.stochastic else None), count + 1
    return count


def needed(noise: X | None, sampler: object) -> X:
    """Return the noise of a stochastic step; raises InputError when there is none."""
    if noise is None:
        raise InputError(f"noise is missing: {sampler!r} is stochastic and takes fresh noise at every step")
    return noise


def unused(noise: object, sampler: object) -> None:
    """Raise InputError when noise is passed to a deterministic step."""
    if noise is not None:
        raise InputError(f"noise is given: {sampler!r} is deterministic and takes none")


def fitting(noise: X | None, sampler: Sampler[Any, Any]) -> X | None:
    """Return the noise of a step of a sampler that may draw or not; raises InputError where it does not fit."""
    if sampler.stochastic:
        return needed(noise, sampler)
    unused(noise, sampler)
    return None


def finite(level: float, sampler: object) -> None:
    """Raise InputError for a step from or to sigma = inf, in a method that integrates along sigma itself."""
    if math.isinf(level):
        raise InputError(
            f"level inf: {sampler!r} steps along sigma, from a finite level on; Heun and IPNDM start at inf"
        )
