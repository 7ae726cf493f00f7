"""Fit levels and step weights by the damped Gauss-Newton method, with derivatives by finite differences.

    d = argmin |e + J·d|^2 + damping·|D·d|^2      e = end of the run - end of the reference,  D^2 = diagonal of J^T·J

Column k of J is the derivative of the end by parameter k: the logarithm of a level between the first and the last, or a
weight of a step. The steps before it are not computed again. Seeds have weight 1/|e|, so that the mean of the root mean
squares falls; a few seeds would dominate the mean square.
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
from unnoise.tune.reference import Reference, rms_difference

DELTA = 0.02  # finite difference of the logarithm of a level, and of a weight
MAX_MOVE = 0.7  # of either in one round
ROUNDS, TRIES = 8, 6
MIN_RATIO = 1.001  # of a level to the next
MIN_GAIN = 0.02  # the last round is the first that gains less than this share


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """A fitted sampler and its grid."""

    sampler: Sampler[Any, Any]
    grid: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FitRun:
    """A run: its states with their predictions, its end x0, and the mean distance to the end of the reference."""

    fit: FittedWeights
    visited: list[tuple[State[Tensor], Tensor]]
    end: Tensor
    error: float


def run_fit(
    fit: FittedWeights, ask: Predict[Tensor], reference: Reference, known: list[tuple[State[Tensor], Tensor]]
) -> FitRun:
    """Run the sampler on its grid, after the known states and predictions of a run with the same first steps."""
    visited = list(known)
    state = visited.pop()[0] if visited else start(reference.states[0], fit.grid)
    state = replace(state, grid=fit.grid)
    while not state.done:
        reuse = len(visited) + 1 == len(known)
        prediction = known[-1][1] if reuse else ask(state.x, state.level)
        visited.append((state, prediction))
        state = fit.sampler.advance(state, prediction)
    return FitRun(fit, visited, state.x, float(rms_difference(state.x, reference.x0).mean()))


def gauss_newton(best: FitRun, ask: Predict[Tensor], reference: Reference) -> FitRun:
    """Return a run that ends closer to the reference, with the same number of steps, first and last level."""
    damping = 1e-3
    movable = len(best.fit.grid) > 2 or isinstance(best.fit.sampler, Fitted)
    for _ in range(ROUNDS if movable else 0):
        square, side = _normal_equations(best, ask, reference)
        before = best.error
        for _ in range(TRIES):
            moves = torch.linalg.solve(square + damping * torch.diag(square.diag()), side).tolist()
            tried = _apply(best.fit, moves, reference.levels[-2])
            found = run_fit(tried, ask, reference, best.visited[:1]) if tried else best
            if found.error < before:
                best, damping = found, damping / 4
                break
            damping = max(6 * damping, 1e-2)
        if best.error > (1 - MIN_GAIN) * before:
            break
    return best


def max_calls(steps: int) -> int:
    """Return the largest number of network calls of `gauss_newton`."""
    return ROUNDS * ((steps + 1) * (5 * steps + 2) // 2 + TRIES * steps)


def _normal_equations(run: FitRun, ask: Predict[Tensor], reference: Reference) -> tuple[Tensor, Tensor]:
    """Return J^T·J and -J^T·e of the weighted seeds."""
    share = rms_difference(run.end, reference.x0).clamp(min=1e-8).rsqrt()[:, None]
    columns = []
    for fit, known, move in _perturb(run.fit):
        changed = run_fit(fit, ask, reference, run.visited[:known]).end - run.end
        columns.append((share * changed.flatten(1) / move).flatten())
    stack = torch.stack(columns)
    side = -(stack @ (share * (run.end - reference.x0).flatten(1)).flatten())
    return (stack @ stack.T).cpu().double(), side.cpu().double()


def _perturb(fit: FittedWeights) -> Iterator[tuple[FittedWeights, int, float]]:
    """Yield the fit with one parameter changed, the number of unchanged states of the run, and the change."""
    sampler, grid = fit.sampler, fit.grid
    for k in range(1, len(grid) - 1):
        move = min(DELTA, log(grid[k - 1] / grid[k]) / 2)
        yield FittedWeights(sampler, (*grid[:k], grid[k] * exp(move), *grid[k + 1 :])), k, move
    if isinstance(sampler, Fitted):
        for i, row in enumerate(sampler.weights):
            for k, weight in enumerate(row):
                moved = (*row[:k], weight + DELTA, *row[k + 1 :])
                yield (
                    FittedWeights(Fitted((*sampler.weights[:i], moved, *sampler.weights[i + 1 :])), grid),
                    i + 1,
                    DELTA,
                )


def _apply(fit: FittedWeights, moves: list[float], lowest: float) -> FittedWeights | None:
    """Add the moves to the parameters, with no level below the lowest; None where levels no longer descend."""
    scale = min(1.0, MAX_MOVE / max(1e-9, *map(abs, moves)))
    steps = iter([scale * move for move in moves])
    inner = [max(level * exp(next(steps)), lowest) for level in fit.grid[1:-1]]
    grid = (fit.grid[0], *inner, fit.grid[-1])
    if not all(a > MIN_RATIO * b for a, b in pairwise(grid)):
        return None
    if not isinstance(fit.sampler, Fitted):
        return FittedWeights(fit.sampler, grid)
    return FittedWeights(
        Fitted(tuple(tuple(weight + next(steps) for weight in row) for row in fit.sampler.weights)), grid
    )
