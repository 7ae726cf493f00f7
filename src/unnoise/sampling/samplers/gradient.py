"""Gradient estimation: extrapolate the noise eps-hat away from the one before, so that it points closer to the data.

    x' = move along  eps-bar = eps-hat + (gamma - 1)·(eps-hat - eps-hat before)

Denoising is gradient descent on the distance to the data, and two predictions estimate its gradient with less error.
gamma = 1 is DDIM; 1.5 is LMS of order 2 where steps along sigma are equal; 2 is the published choice.

Order 1, one query a step; the first step, and one to sigma = 0, which returns x0-hat, are DDIM.
Source: Permenter & Yuan 2024 (Interpreting and improving diffusion models from an optimization perspective), eq. 12.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import InputError
from unnoise.sampling.level import V, drift, eps_of, move
from unnoise.sampling.state import State, finish_step, unused


@dataclass(frozen=True, slots=True)
class GradientEstimation:
    """Step along the present eps-hat, extrapolated away from the one before; gamma in [1, 3]."""

    gamma: float = 2.0
    order: ClassVar[int] = 1
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.gamma <= 3:
            raise InputError(f"gamma {self.gamma!r}: from 1 (DDIM) to 3")

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the eps-hat before."""
        unused(noise, self)
        here, there = state.step
        eps = eps_of(state.x, prediction, here)
        if not state.memory or math.isinf(here) or there in (0, math.inf):
            return finish_step(state, move(state.x, prediction, here, there), memory=(eps,))
        extrapolated = self.gamma * eps + (1.0 - self.gamma) * state.memory[0]
        return finish_step(state, drift(state.x, extrapolated, here, there), memory=(eps,))
