"""Heun: take the step, predict again at its end, and repeat the step with the average of both predictions.

    x~ = move(x, x0-hat)                                first query at x, second at x~
    x' = glide(x, (flow + flow~)/2)                     flow = eps-hat - x0-hat at each

This is the trapezoidal rule on the straight line of `level`, where flow stays finite at both ends, so a run may start
at sigma = inf. The trapezoid in sigma (EDM, algorithm 1) has no first step there.

Order 2, two queries a step; a step to sigma = 0 is DDIM, one query, and keeps the order.
Source: Karras et al. 2022 (EDM), algorithm 1, with sigma replaced by place.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.level import V, flow_of, glide, move
from unnoise.sampling.state import State, finish_step, unused


@dataclass(frozen=True, slots=True)
class Heun:
    """Step by the trapezoidal rule: stage 0 is the query at the start of the step, stage 1 at its end."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue with the prediction of x0 at state.x; between the stages memory holds x and flow of the start."""
        unused(noise, self)
        here, there = state.step
        if state.stage == 1:
            x, flow = state.memory
            return finish_step(state, glide(x, 0.5 * flow + 0.5 * flow_of(state.x, prediction, there), here, there))
        tried = move(state.x, prediction, here, there)
        if there == 0:
            return finish_step(state, tried)
        memory = (state.x, flow_of(state.x, prediction, here))
        return State(state.grid, state.i, tried, level=there, stage=1, memory=memory)
