"""Fit the weights of the steps of a grid, one step after the other, by least squares on the reference trajectory.

    w = argmin sum over seeds of |y' - y - (place' - place)·sum_k w_k·flow_k|^2      y = x/(signal + spread)

with y' on the reference trajectory and y, flow_k of the run itself, so that each step also corrects the errors of the
steps before it. It costs no more network calls than the run. `gauss_newton` starts from it.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.sampling.level import blend, flow_of, glide, place, signal, spread
from unnoise.sampling.multistep import adams
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.schedule_search import Predict
from unnoise.tune.reference import Reference

RIDGE = 1e-6  # regularization where flows are nearly equal, as a share of the mean square of a flow


def fit_step_weights(ask: Predict[Tensor], reference: Reference, grid: Sequence[float], order: int) -> Fitted:
    """Return a sampler for the grid whose every step ends as close to the reference as `order` flows allow."""
    flows: tuple[Tensor, ...] = ()
    x, rows = reference.states[0], []
    for here, there in pairwise(grid):
        flows = (flow_of(x, ask(x, here), here), *flows)[:order]
        before, after = (x / (signal(here) + spread(here)), reference.at(there) / (signal(there) + spread(there)))
        rows.append(_solve(flows, (after - before) / (place(there) - place(here))))
        x = glide(x, blend(rows[-1], flows), here, there)
    return Fitted(tuple(rows))


def ipndm_weights(grid: Sequence[float], order: int) -> Fitted:
    """Return IPNDM of this order, on a grid that ends at 0, as step weights."""
    places = [place(level) for level in grid]
    steps = [adams(places[max(0, i - order + 1) : i + 1][::-1], places[i + 1]) for i in range(len(grid) - 2)]
    return Fitted((*map(tuple, steps), (1.0,)))


def _solve(flows: tuple[Tensor, ...], target: Tensor) -> tuple[float, ...]:
    """Return the weights whose sum of flows is nearest to the target; among equal flows the newest is used."""
    stack = torch.stack([flow.flatten() for flow in flows])
    square, side = (stack @ stack.T).cpu().double(), (stack @ target.flatten()).cpu().double()
    ridge = RIDGE * square.diag().mean()
    side[0] += ridge
    eye = torch.eye(len(flows), dtype=square.dtype, device=square.device)
    return tuple(torch.linalg.solve(square + ridge * eye, side).tolist())
