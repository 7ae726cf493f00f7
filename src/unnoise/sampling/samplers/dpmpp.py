"""DPM-Solver++, multistep: extrapolate x0-hat in lambda = -log(sigma) from past predictions.

With h the step in lambda and h1 the one before (d is x0-hat now, d1 before):

    2M      x' = move(x, d + h/2·(d - d1)/h1)
    3M      the exponential step of `sampling/exponential.py` along the parabola through three predictions
    SDE     2M or 3M in a step of reverse diffusion, which renews the noise as DDPM does (tau = 1)

Orders 2 and 3, weak 2 for both SDE, between finite levels. Nothing can be extrapolated across an infinite lambda, so a
first step, the step after one from sigma = inf and a step to sigma = 0 are of lower order, and on grids that go to inf
or 0 the steps in lambda at the ends do not shrink: there 2M and its SDE fall at orders measured from 1.5 to 2.2, and 3M
at about 2.

3M integrates the parabola itself, as in proposition 4.1. The published update and code based on it give the second
difference half of that weight, h^2·m''/2 in place of h^2·m'', and reach only order 2.

One query a step.
Source: Lu et al. 2022b (DPM-Solver++, arXiv 2211.01095), proposition 4.1, algorithm 2, and its form for SDEs.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.exponential import exponential_step
from unnoise.sampling.level import V, gap, move, renew, renewal
from unnoise.sampling.state import State, finish_step, needed, unused


def extrapolated(state: State[V], prediction: V) -> V:
    """Return x0-hat extrapolated linearly in lambda to the middle of the step, or the prediction where it cannot be."""
    here, there = state.step
    if not (state.memory and 0 < there < math.inf):
        return prediction
    ahead = gap(here, there) / (2 * gap(state.grid[state.i - 1], here))
    return (1 + ahead) * prediction + -ahead * state.memory[0]


def remembered(state: State[V], prediction: V) -> list[tuple[float, V]]:
    """Return the prediction and those in memory, newest first, each with its level."""
    return [(state.grid[state.i - k], x0) for k, x0 in enumerate((prediction, *state.memory))]


@dataclass(frozen=True, slots=True)
class DPMpp2M:
    """Step with x0-hat extrapolated linearly: order 2, the cold start included."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the prediction before."""
        unused(noise, self)
        return finish_step(state, move(state.x, extrapolated(state, prediction), *state.step), memory=(prediction,))


@dataclass(frozen=True, slots=True)
class DPMppSDE:
    """Step as 2M with the noise of an ancestral step: weak order 2, in the mean and variance of Gaussian data."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x and fresh noise; memory holds the prediction before."""
        x0, fresh = extrapolated(state, prediction), needed(noise, self)
        x = renew(state.x, x0, fresh, *state.step, share=renewal(*state.step))
        return finish_step(state, x, memory=(prediction,))


@dataclass(frozen=True, slots=True)
class DPMpp3M:
    """Step along the parabola through three x0-hat: order 3 once warm; a cold start leaves the whole run at order 2."""

    order: ClassVar[int] = 3
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the two predictions before."""
        unused(noise, self)
        x = exponential_step(state.x, remembered(state, prediction), state.step)
        return finish_step(state, x, memory=(prediction, *state.memory[:1]))


@dataclass(frozen=True, slots=True)
class DPMpp3MSDE:
    """Step along that parabola with the noise of an ancestral step: weak order 2 in the variance of Gaussian data."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x and fresh noise; memory holds the two before."""
        fresh = needed(noise, self)
        x = exponential_step(state.x, remembered(state, prediction), state.step, 1.0, fresh)
        return finish_step(state, x, memory=(prediction, *state.memory[:1]))
