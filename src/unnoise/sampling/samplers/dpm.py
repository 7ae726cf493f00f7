"""DPM-Solver-2 and DPM-Solver++ 2S: predict again in the middle of the step in log(sigma), and use that prediction.

    x~ = move(x, x0-hat) to sqrt(sigma·sigma')           first query at x, second at x~
    DPM-Solver-2     x' = drift(x, eps-hat~)             holds eps-hat of the middle over the step
    2S               x' = move(x, x0-hat~)               holds x0-hat of the middle
    2S SDE           the same with noise renewed in both halves; the second half carries the noise of the first on

Order 2, weak 2 for the SDE, two queries a step between finite levels. From sigma = inf, where there is no middle, and
to sigma = 0 a step is DDIM, or ancestral, with one query.
Source: Lu et al. 2022a (DPM-Solver, arXiv 2206.00927), algorithm 1 with r = 1/2; Lu et al. 2022b (DPM-Solver++,
arXiv 2211.01095), algorithm 1 with r = 1/2, and its form for SDEs, as crowsonkb/k-diffusion has them in sample_dpm_2,
sample_dpmpp_2s_ancestral and sample_dpmpp_sde.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.level import V, drift, eps_of, move, renew, renewal
from unnoise.sampling.state import State, finish_step, needed, unused


def middle(here: float, there: float) -> float | None:
    """Return the level in the middle of a step in lambda, None where there is none."""
    return math.sqrt(here) * math.sqrt(there) if here < math.inf and 0 < there < math.inf else None


def halfway(state: State[V], x: V, level: float, memory: tuple[V, ...]) -> State[V]:
    """Return the state of the second query, in the middle of a step."""
    return State(state.grid, state.i, x, level, stage=1, memory=memory)


def first_half(state: State[V], prediction: V) -> State[V]:
    """Take a DDIM step to the middle of the step, for the second query, or to its end where there is no middle."""
    here, there = state.step
    level = middle(here, there)
    if level is None:
        return finish_step(state, move(state.x, prediction, here, there))
    return halfway(state, move(state.x, prediction, here, level), level, memory=(state.x,))


@dataclass(frozen=True, slots=True)
class DPM2:
    """Step with the eps-hat of the middle: stage 0 is the query at the start of the step, stage 1 in its middle."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue with the prediction of x0 at state.x; in stage 1 memory holds x of the start."""
        unused(noise, self)
        if state.stage == 0:
            return first_half(state, prediction)
        return finish_step(state, drift(state.memory[0], eps_of(state.x, prediction, state.level), *state.step))


@dataclass(frozen=True, slots=True)
class DPMpp2S:
    """Step with the x0-hat of the middle: stage 0 is the query at the start of the step, stage 1 in its middle."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue with the prediction of x0 at state.x; in stage 1 memory holds x of the start."""
        unused(noise, self)
        if state.stage == 0:
            return first_half(state, prediction)
        return finish_step(state, move(state.memory[0], prediction, *state.step))


@dataclass(frozen=True, slots=True)
class DPMpp2SSDE:
    """Step as 2S with the noise of two ancestral halves: weak order 2, in the mean and variance of Gaussian data."""

    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue with the prediction of x0 at state.x and fresh noise; in stage 1 memory holds x and noise of 0.

        The noise n1 of the first half fades while the second half adds n2: both are (q·n1 + n2)/sqrt(1 + q^2), where
        q = sigma'/sigma of a half.
        """
        fresh, (here, there) = needed(noise, self), state.step
        if state.stage == 1:
            x, first = state.memory
            fade = there / state.level
            both = 1.0 / math.hypot(1.0, fade) * (fade * first + fresh)
            return finish_step(state, renew(x, prediction, both, here, there, renewal(here, there)))
        level = middle(here, there)
        if level is None:
            return finish_step(state, renew(state.x, prediction, fresh, here, there, renewal(here, there)))
        x = renew(state.x, prediction, fresh, here, level, renewal(here, level))
        return halfway(state, x, level, memory=(state.x, fresh))
