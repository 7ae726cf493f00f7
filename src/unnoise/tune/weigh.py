"""Fit the weights of a multistep method, one step at a time, by least squares on where the fine trajectory goes.

    w = argmin sum over seeds of |y' - y - (place' - place)·sum_k w_k·flow_k|^2      y = x/(signal + spread)

with y' on the fine trajectory and y, flow_k of the run itself, whose errors so far are thus made good as far as flows
can. Thousands of coordinates of a few dozen seeds decide on a handful of numbers, which hold for other seeds too.
"""

import torch
from torch import Tensor

from unnoise.sampling.fit import Step, onward
from unnoise.sampling.level import blend, flow_of, glide, place, signal, spread
from unnoise.sampling.state import State, land
from unnoise.tune.teacher import Teacher

RIDGE = 1e-6  # of the mean square of a flow: what holds the weights where flows are nearly alike


def weighing(teacher: Teacher, order: int) -> Step[Tensor]:
    """Return the step that is weighed to land as near to the teacher as `order` flows can bring it."""

    def step(state: State[Tensor], prediction: Tensor, level: float) -> State[Tensor]:
        flows = _flows(state, prediction, order)
        flow = blend(row(teacher, state, flows, level), flows)
        landed = glide(state.x, flow, state.level, level)
        return land(onward(state, level), landed, memory=flows[: order - 1])

    return step


def weights(
    teacher: Teacher, visited: list[tuple[State[Tensor], Tensor]], grid: tuple[float, ...], order: int
) -> tuple[tuple[float, ...], ...]:
    """Return the rows of weights that `weighing` took on its way through these states and predictions of a grid."""
    return tuple(
        row(teacher, state, _flows(state, prediction, order), level)
        for (state, prediction), level in zip(visited, grid[1:], strict=True)
    )


def row(teacher: Teacher, state: State[Tensor], flows: tuple[Tensor, ...], level: float) -> tuple[float, ...]:
    """Solve for the weights of one step, newest flow first."""
    target = teacher.at(level) / (signal(level) + spread(level))
    here = state.x / (signal(state.level) + spread(state.level))
    wanted = ((target - here) / (place(level) - place(state.level))).flatten()
    stack = torch.stack([flow.flatten() for flow in flows])
    square, side = (stack @ stack.T).double(), (stack @ wanted).double()
    held = RIDGE * square.diag().mean()
    square = square + held * torch.eye(len(flows), dtype=square.dtype, device=square.device)
    side[0] += held  # towards the present flow alone
    return tuple(torch.linalg.solve(square, side).tolist())


def _flows(state: State[Tensor], prediction: Tensor, order: int) -> tuple[Tensor, ...]:
    return (flow_of(state.x, prediction, state.level), *state.memory)[:order]
