"""Heun: try the step, ask again where it lands, and average both answers.

    x~ = move(x, x0-hat)                                             first query at x, second at x~
    x' = x + (signal' - signal)·(x0-hat + x0-hat~)/2 + (spread' - spread)·(eps-hat + eps-hat~)/2

This is the trapezoidal rule for  dx = x0-hat·d(signal) + eps-hat·d(spread): what is averaged stays finite at both ends,
so a run may start at sigma = inf, where the trapezoid in sigma (EDM, algorithm 1) has no first step.

Order 2, two queries a step; a step to sigma = 0 is DDIM, one query, and keeps the order.
Source: Karras et al. 2022 (EDM), algorithm 1, with the trapezoid taken in the unit frame.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.level import V, move, noise_of, signal, spread
from unnoise.sampling.state import State, land, unused


@dataclass(frozen=True, slots=True)
class Heun:
    """Step by the trapezoidal rule: stage 0 asks at the start of the step, stage 1 at its end."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Go on with the prediction of x0 at state.x; between the stages memory holds x0-hat and x of the start."""
        unused(noise, self)
        here, there = state.step
        if state.stage == 0:
            x = move(state.x, prediction, here, there)
            if there == 0:
                return land(state, x)
            return State(state.grid, state.i, x, level=there, stage=1, memory=(prediction, state.x))
        x0, x = state.memory
        half = (signal(there) - signal(here)) / 2
        x = x + half * x0 + half * prediction
        half = (spread(there) - spread(here)) / 2
        return land(state, x + half * noise_of(state.memory[1], x0, here) + half * noise_of(state.x, prediction, there))
