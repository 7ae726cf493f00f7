"""LMS: combine the present noise eps-hat with past ones along sigma, as Adams and Bashforth do.

    x' = drift(x, sum_j w_j·eps-hat_j)      w_j = mean of L_j over the step      eps-hat = (x - signal·x0-hat)/spread

with L_j the Lagrange polynomial of the last `order` levels, j = 0 the present one. It is `iPNDM` on another axis: along
sigma instead of along place, and therefore not from sigma = inf, where that axis has no step.

Order 1 to 4 once as many values are known; a run starts cold, with orders 1, 2, 3, 4, and its first step leaves an
error of order 2 in the whole run. A step to sigma = 0 returns x0-hat. One query a step.
Source: crowsonkb/k-diffusion, sampling.py, sample_lms; Zhang & Chen 2022 (DEIS), section 3.3, rhoAB.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import check_whole
from unnoise.sampling.level import V, blend, drift, eps_of, move
from unnoise.sampling.multistep import adams
from unnoise.sampling.state import State, finish_step, finite, unused


@dataclass(frozen=True, slots=True)
class LMS:
    """Step along the present and up to order - 1 past eps-hat, order in 1 .. 4, from a finite level."""

    order: int = 4
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("order", self.order, 1, 4)

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the eps-hat of each step before.

        Raises InputError for a step from or to sigma = inf.
        """
        unused(noise, self)
        here, there = state.step
        finite(max(here, there), self)
        if there == 0:
            return finish_step(state, move(state.x, prediction, here, there))
        noises = (eps_of(state.x, prediction, here), *state.memory)
        eps = blend(adams(state.grid[state.i - len(noises) + 1 : state.i + 1][::-1], there), noises)
        return finish_step(state, drift(state.x, eps, here, there), memory=noises[: self.order - 1])
