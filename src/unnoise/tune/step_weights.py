"""Weigh the steps of a grid one after the other, by least squares on where the fine trajectory goes.

    w = argmin sum over seeds of |y' - y - (place' - place)·sum_k w_k·flow_k|^2      y = x/(signal + spread)

with y' on the fine trajectory and y, flow_k of the run itself, whose errors so far are thus made good as far as flows
can. It costs no more network calls than the run, and is where `refine` begins.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.sampling.level import blend, flow_of, glide, place, signal, spread
from unnoise.sampling.multistep import adams
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.schedule_search import Predict
from unnoise.tune.reference import Teacher

RIDGE = 1e-6  # of the mean square of a flow: what holds the weights where flows are nearly alike


def weighed(ask: Predict[Tensor], teacher: Teacher, grid: Sequence[float], order: int) -> Fitted:
    """Return the sampler of the grid whose every step lands as near to the teacher as `order` flows can bring it."""
    flows: tuple[Tensor, ...] = ()
    x, rows = teacher.states[0], []
    for here, there in pairwise(grid):
        flows = (flow_of(x, ask(x, here), here), *flows)[:order]
        before, after = (x / (signal(here) + spread(here)), teacher.at(there) / (signal(there) + spread(there)))
        rows.append(_solve(flows, (after - before) / (place(there) - place(here))))
        x = glide(x, blend(rows[-1], flows), here, there)
    return Fitted(tuple(rows))


def classical(grid: Sequence[float], order: int) -> Fitted:
    """Return what `ipndm` of this order does on a grid that ends at 0, written as weights."""
    places = [place(level) for level in grid]
    steps = [adams(places[max(0, i - order + 1) : i + 1][::-1], places[i + 1]) for i in range(len(grid) - 2)]
    return Fitted((*map(tuple, steps), (1.0,)))


def _solve(flows: tuple[Tensor, ...], wanted: Tensor) -> tuple[float, ...]:
    """Give the weights whose sum of flows is nearest to what is wanted; alike flows give way to the newest."""
    stack = torch.stack([flow.flatten() for flow in flows])
    square, side = (stack @ stack.T).double(), (stack @ wanted.flatten()).double()
    held = RIDGE * square.diag().mean()
    side[0] += held
    eye = torch.eye(len(flows), dtype=square.dtype, device=square.device)
    return tuple(torch.linalg.solve(square + held * eye, side).tolist())
