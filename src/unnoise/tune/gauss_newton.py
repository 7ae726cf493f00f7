"""Move levels and weights to where runs end nearest: Gauss and Newton's method, its derivatives by small moves.

    d = argmin |e + J·d|^2 + damping·|D·d|^2      e = end of the run - end of the teacher,  D^2 = diagonal of J^T·J

Column k of J is what a small move of parameter k does to the end: the logarithm of a level between the first and the
last, or a weight of a step. The run up to there need not be made again. Seeds count by 1/|e|, so that the mean of the
root mean squares falls rather than the mean square, which few seeds rule.
Source: Nocedal & Wright 2006 (Numerical optimization), section 10.3 (Levenberg and Marquardt).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, log
from typing import Any

import torch
from torch import Tensor

from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.schedule_search import Predict
from unnoise.sampling.state import Sampler, State, start
from unnoise.tune.reference import Teacher, apart

MOVE = 0.02  # of the logarithm of a level, or of a weight, to see what it does
REACH = 0.7  # of either at most in one round
ROUNDS, TRIES = 8, 6
CLOSEST = 1.001  # of a level to the next
ENOUGH = 0.02  # a round that gains less than this share is the last


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """What is fitted: a sampler and the grid that it is for."""

    sampler: Sampler[Any, Any]
    grid: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FitRun:
    """A run that was made: each state with its prediction, where it ended, and how far from the teacher's end."""

    fit: FittedWeights
    visited: list[tuple[State[Tensor], Tensor]]
    end: Tensor
    error: float


def walk(
    fit: FittedWeights, ask: Predict[Tensor], teacher: Teacher, known: list[tuple[State[Tensor], Tensor]]
) -> FitRun:
    """Make a run, from the states and predictions that are known already, if any."""
    visited = list(known)
    state = visited.pop()[0] if visited else start(teacher.states[0], fit.grid)
    state = replace(state, grid=fit.grid)
    while not state.done:
        asked = len(visited) + 1 == len(known)
        prediction = known[-1][1] if asked else ask(state.x, state.level)
        visited.append((state, prediction))
        state = fit.sampler.advance(state, prediction)
    return FitRun(fit, visited, state.x, float(apart(state.x, teacher.x0).mean()))


def refine(best: FitRun, ask: Predict[Tensor], teacher: Teacher) -> FitRun:
    """Return a run that ends nearer, with as many steps, the first and the last level the same."""
    damping = 1e-3
    movable = len(best.fit.grid) > 2 or isinstance(best.fit.sampler, Fitted)
    for _ in range(ROUNDS if movable else 0):
        square, side = _model(best, ask, teacher)
        before = best.error
        for _ in range(TRIES):
            moves = torch.linalg.solve(square + damping * torch.diag(square.diag()), side).tolist()
            tried = _moved(best.fit, moves, teacher.levels[-2])
            found = walk(tried, ask, teacher, best.visited[:1]) if tried else best
            if found.error < before:
                best, damping = found, damping / 4
                break
            damping = max(6 * damping, 1e-2)
        if best.error > (1 - ENOUGH) * before:
            break
    return best


def calls(steps: int) -> int:
    """Count the network calls that `refine` makes at most."""
    return ROUNDS * ((steps + 1) * (5 * steps + 2) // 2 + TRIES * steps)


def _model(run: FitRun, ask: Predict[Tensor], teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Give J^T·J and -J^T·e, seeds weighed."""
    share = apart(run.end, teacher.x0).clamp(min=1e-8).rsqrt()[:, None]
    columns = []
    for fit, known, move in _small_moves(run.fit):
        changed = walk(fit, ask, teacher, run.visited[:known]).end - run.end
        columns.append((share * changed.flatten(1) / move).flatten())
    stack = torch.stack(columns)
    side = -(stack @ (share * (run.end - teacher.x0).flatten(1)).flatten())
    return (stack @ stack.T).double(), side.double()


def _small_moves(fit: FittedWeights) -> Iterator[tuple[FittedWeights, int, float]]:
    """Give the fit with each parameter moved, how many states of the run stay as they are, and the move."""
    sampler, grid = fit.sampler, fit.grid
    for k in range(1, len(grid) - 1):
        move = min(MOVE, log(grid[k - 1] / grid[k]) / 2)
        yield FittedWeights(sampler, (*grid[:k], grid[k] * exp(move), *grid[k + 1 :])), k, move
    if isinstance(sampler, Fitted):
        for i, row in enumerate(sampler.weights):
            for k, weight in enumerate(row):
                moved = (*row[:k], weight + MOVE, *row[k + 1 :])
                yield FittedWeights(Fitted((*sampler.weights[:i], moved, *sampler.weights[i + 1 :])), grid), i + 1, MOVE


def _moved(fit: FittedWeights, moves: list[float], lowest: float) -> FittedWeights | None:
    """Move every parameter, no level below the lowest; None where levels no longer descend by a step."""
    scale = min(1.0, REACH / max(1e-9, *map(abs, moves)))
    steps = iter([scale * move for move in moves])
    inner = [max(level * exp(next(steps)), lowest) for level in fit.grid[1:-1]]
    grid = (fit.grid[0], *inner, fit.grid[-1])
    if not all(a > CLOSEST * b for a, b in pairwise(grid)):
        return None
    if not isinstance(fit.sampler, Fitted):
        return FittedWeights(fit.sampler, grid)
    return FittedWeights(
        Fitted(tuple(tuple(weight + next(steps) for weight in row) for row in fit.sampler.weights)), grid
    )
