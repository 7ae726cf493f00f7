"""iPNDM: combine the present flow with past ones, as Adams and Bashforth do.

    x' = glide(x, sum_j w_j·flow_j)      w_j = mean of L_j over the step      flow = eps-hat - x0-hat

with L_j the Lagrange polynomial of the last `order` places, j = 0 the present one. On the straight line of `level` this
is the classical method, exact where flow is a polynomial in place, and finite at sigma = inf; the published form uses
eps-hat along sigma, where pure noise is at infinity. The weights are computed from the levels of the run, so the order
holds on any grid; for equal steps they are the published ones, (55, -59, 37, -9)/24. With one value it is DDIM.

Order 1 to 4 once as many values are known. A run starts cold, with orders 1, 2, 3, 4 as published, and its first step
leaves an error of order 2 in the whole run. A step to sigma = 0 returns x0-hat. One query a step.
Source: Zhang & Chen 2022 (DEIS, arXiv 2204.13902), iPNDM; Liu et al. 2022 (PNDM, arXiv 2202.09778) for the weights.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import check_whole
from unnoise.sampling.level import V, blend, flow_of, glide, move, place
from unnoise.sampling.multistep import adams
from unnoise.sampling.state import State, finish_step, unused


@dataclass(frozen=True, slots=True)
class IPNDM:
    """Step along the present and up to order - 1 past flows, order in 1 .. 4."""

    order: int = 4
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("order", self.order, 1, 4)

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the flow of each step before."""
        unused(noise, self)
        here, there = state.step
        if there == 0:
            return finish_step(state, move(state.x, prediction, here, there))
        flows = (flow_of(state.x, prediction, here), *state.memory)
        visited = [place(state.grid[state.i - k]) for k in range(len(flows))]
        flow = blend(adams(visited, place(there)), flows)
        return finish_step(state, glide(state.x, flow, here, there), memory=flows[: self.order - 1])
