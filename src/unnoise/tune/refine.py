"""Move the levels of a grid to where a run ends nearest: Gauss and Newton's method, derivatives by small moves.

    d = argmin |e(g) + J·d|^2 + damping·|D·d|^2      g = log(levels), e = end of the run - end of the teacher

Column k of J is the change of the end when level k moves, and the run up to level k - 1 need not be made again. Rows
count by 1/|e|, so that the mean of the root mean squares falls rather than the mean square, which few seeds rule.
Source: Nocedal & Wright 2006 (Numerical optimization), section 10.3 (Levenberg and Marquardt).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import torch
from torch import Tensor

from unnoise.sampling.fit import Ask, Step
from unnoise.sampling.state import State
from unnoise.tune.teacher import Teacher, apart

MOVE = 0.04  # of the logarithm of a level, to see what it does
REACH = 0.7  # of the logarithm of a level, at most, in one round
ROUNDS, TRIES = 6, 4
ENOUGH = 0.01  # a round that gains less than this share is the last
Visited = list[tuple[State[Tensor], Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run that was made: its states with their predictions, where it ended, and how far from the teacher's end."""

    grid: tuple[float, ...]
    visited: Visited
    end: Tensor
    error: float


def walk(step: Step[Tensor], ask: Ask[Tensor], teacher: Teacher, grid: Sequence[float], visited: Visited) -> Run:
    """Go through a grid from the states and predictions that are known already, at least the first."""
    known = list(visited)
    state, prediction = known[-1]
    for level in grid[len(known) :]:
        state = step(state, prediction, level)
        if level > 0:
            prediction = ask(state.x, level)
            known.append((state, prediction))
    return Run(tuple(grid), known, state.x, float(apart(state.x, teacher.x0).mean()))


def refine(step: Step[Tensor], ask: Ask[Tensor], teacher: Teacher, best: Run) -> Run:
    """Return a run that ends nearer, on a grid with as many levels, the first and the last the same."""
    damping = 1e-3
    for _ in range(ROUNDS if len(best.grid) > 2 else 0):
        square, side = _model(step, ask, teacher, best)
        before = best.error
        for _ in range(TRIES):
            moves = torch.linalg.solve(square + damping * torch.diag(square.diag()), side)
            tried = _moved(best.grid, moves, teacher)
            found = walk(step, ask, teacher, tried, best.visited[:1]) if tried else None
            if found is not None and found.error < before:
                best, damping = found, damping / 4
                break
            damping = max(8 * damping, 1e-2)
        if best.error > (1 - ENOUGH) * before:
            break
    return best


def _model(step: Step[Tensor], ask: Ask[Tensor], teacher: Teacher, run: Run) -> tuple[Tensor, Tensor]:
    """Give J^T·J and -J^T·e of the levels between the ends, rows weighed."""
    away = run.end - teacher.x0
    share = apart(run.end, teacher.x0).clamp(min=1e-8).rsqrt()[:, None]
    columns = []
    for k in range(1, len(run.grid) - 1):
        move = min(MOVE, log(run.grid[k - 1] / run.grid[k]) / 4)
        grid = [*run.grid[:k], run.grid[k] * exp(move), *run.grid[k + 1 :]]
        changed = walk(step, ask, teacher, grid, run.visited[:k]).end - run.end
        columns.append((share * changed.flatten(1) / move).flatten())
    stack = torch.stack(columns)
    side = -(stack @ (share * away.flatten(1)).flatten())
    return (stack @ stack.T).double(), side.double()


def _moved(grid: Sequence[float], moves: Tensor, teacher: Teacher) -> tuple[float, ...] | None:
    """Move the levels between the ends, no lower than the teacher was asked; None where they no longer descend."""
    scale = min(1.0, REACH / float(moves.abs().max()))
    pairs = zip(grid[1:-1], moves.tolist(), strict=True)
    moved = (grid[0], *(max(level * exp(scale * move), teacher.levels[-2]) for level, move in pairs), grid[-1])
    return moved if all(a > b for a, b in zip(moved, moved[1:], strict=False)) else None
