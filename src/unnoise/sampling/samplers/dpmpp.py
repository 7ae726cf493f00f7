"""DPM-Solver++: extrapolate x0-hat in lambda = -log(sigma) from past predictions, then move.

With h the step in lambda, h1 the one before and h2 the one before that (d is x0-hat now, d1 and d2 before):

    2M      x' = move(x, d + h/2·(d - d1)/h1)
    3M      x' = (spread'/spread)·x + signal'·integral_0^h e^(s - h)·[d + s·D1 + s·(s + h1)·D2] ds
            with the divided differences  D1 = (d - d1)/h1,  D2 = (D1 - (d1 - d2)/h2)/(h1 + h2)
    SDE     the extrapolation of 2M in a step that renews the noise as DDPM does

Orders 2, 3 and weak 2, between finite levels. Nothing can be extrapolated across an infinite lambda, so a first step,
the step after one from sigma = inf and a step to sigma = 0 are of lower order, and on grids that go to inf or 0 the
steps in lambda at the ends do not shrink: there 2M and SDE fall at orders measured from 1.5 to 2.2, and 3M at about 2.

3M takes the Newton form of the interpolation, whose last weight is twice that of the published code: there the second
difference is h^2·m''/2 but is weighted as if it were h^2·m'', which leaves order 2.

One query a step.
Source: Lu et al. 2022b (DPM-Solver++, arXiv 2211.01095), proposition 4.1, algorithm 2, and its form for SDEs.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.level import V, gap, move, renew, signal
from unnoise.sampling.samplers.ddim import ancestral
from unnoise.sampling.state import State, land, needed, unused


def extrapolated(state: State[V], prediction: V) -> V:
    """Return x0-hat expected at the middle of the step, linear in lambda; the prediction itself where it must."""
    here, there = state.step
    if not (state.memory and 0 < there < math.inf):
        return prediction
    ahead = gap(here, there) / (2 * gap(state.grid[state.i - 1], here))
    return (1 + ahead) * prediction + -ahead * state.memory[0]


@dataclass(frozen=True, slots=True)
class DPMpp2M:
    """Step with x0-hat extrapolated linearly: order 2, the cold start included."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the prediction before."""
        unused(noise, self)
        return land(state, move(state.x, extrapolated(state, prediction), *state.step), memory=(prediction,))


@dataclass(frozen=True, slots=True)
class DPMppSDE:
    """Step as 2M with the noise of an ancestral step: weak order 2, in the mean and variance of Gaussian data."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x and fresh noise; memory holds the prediction before."""
        x0, fresh = extrapolated(state, prediction), needed(noise, self)
        x = renew(state.x, x0, fresh, *state.step, share=ancestral(*state.step))
        return land(state, x, memory=(prediction,))


@dataclass(frozen=True, slots=True)
class DPMpp3M:
    """Step with x0-hat extrapolated by a parabola: order 3 once warm; a cold start leaves the whole run at order 2."""

    order: ClassVar[int] = 3
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds the two predictions before."""
        unused(noise, self)
        here, there = state.step
        memory = (prediction, *state.memory[:1])
        if len(state.memory) < 2 or not 0 < there < math.inf:
            return land(state, move(state.x, extrapolated(state, prediction), here, there), memory)
        oldest, newer = state.grid[state.i - 2], state.grid[state.i - 1]
        first, second = parabola(gap(here, there), gap(newer, here), gap(oldest, newer))
        x = move(state.x, prediction, here, there) + signal(there) * first * prediction
        x = x + signal(there) * (second - first) * state.memory[0] + -signal(there) * second * state.memory[1]
        return land(state, x, memory)


def parabola(h: float, h1: float, h2: float) -> tuple[float, float]:
    """Return what the integral of the D1 and D2 terms of 3M gives to (now - before) and to (before - oldest)."""
    line = h + math.expm1(-h)
    curve = h * h - 2 * line + h1 * line
    return line / h1 + curve / (h1 * (h1 + h2)), -curve / (h2 * (h1 + h2))
