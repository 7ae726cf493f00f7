"""DEIS: extrapolate the noise eps-hat in lambda = -log(sigma) from past ones, and integrate it along sigma exactly.

    x' = signal'/signal·x + signal'·sum_j w_j·eps-hat_j      w_j = integral of L_j(log sigma) over sigma .. sigma'

with L_j the Lagrange polynomial of the last `order` values of log(sigma), j = 0 the present one. DPM-Solver++ 3M does
the same in x0-hat; in eps-hat the exponential step has the rate -1 in place of 1.

Order 1 to 3 once as many values are known; a run starts cold, and its first step leaves an error of order 2 in the
whole run. Log(sigma) is infinite at both ends: a step from sigma = inf is DDIM and leaves nothing to extrapolate from,
and a step to sigma = 0 returns x0-hat. One query a step.
Source: Zhang & Chen 2022 (DEIS, arXiv 2204.13902), eq. 15, with the polynomial in log(sigma), as in diffusers.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import check_whole
from unnoise.sampling.level import V, blend, eps_of, gap, move, signal
from unnoise.sampling.multistep import exponential
from unnoise.sampling.state import State, finish_step, unused


@dataclass(frozen=True, slots=True)
class DEIS:
    """Step along the present and up to order - 1 past eps-hat, order in 1 .. 3."""

    order: int = 3
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("order", self.order, 1, 3)

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the eps-hat of each step before."""
        unused(noise, self)
        here, there = state.step
        if math.isinf(here) or there in (0, math.inf):
            return finish_step(state, move(state.x, prediction, here, there))
        noises = (eps_of(state.x, prediction, here), *state.memory)
        nodes = [gap(here, state.grid[state.i - k]) for k in range(len(noises))]
        turn = blend(exponential(nodes, gap(here, there), -1.0), noises)
        x = signal(there) / signal(here) * state.x + signal(there) * there * turn
        return finish_step(state, x, memory=noises[: self.order - 1])
