"""UniPC: predict as DPM-Solver++ does, and correct each step with the prediction at its end, at no extra query.

    x~  from x0-hat now and before; the query is made there
    x'  the same step again, along the polynomial that also goes through the prediction at its end; no query

With p values known the predictor has order p: `move`, then 2M, then the exponential step along the parabola. The
corrector goes through one value more, by the exponential step; with one known it is move(x, (x0-hat + x0-hat~)/2).
These are the published forms with B(h) = e^h - 1 (bh2), written without their systems of equations.

Order p + 1 with a predictor of order p, once warm: each step but the last is corrected, and the last one's error counts
once. A cold start leaves the whole run at order 3. One query a step: the corrector needs none.
Lambda is infinite at both ends: a step from sigma = inf is DDIM, uncorrected, and one to 0 returns x0-hat.
Source: Zhao et al. 2023 (UniPC, arXiv 2302.04867), algorithms 1 and 2, eq. 3 and 8, appendix D.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import check_whole
from unnoise.sampling.exponential import exponential_step
from unnoise.sampling.level import V, move
from unnoise.sampling.samplers.dpmpp import extrapolated, remembered
from unnoise.sampling.state import State, finish_step, unused


@dataclass(frozen=True, slots=True)
class UniPC:
    """Step by a predictor of order 1 to 3, and correct it by one order more."""

    predictor: int = 2
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_whole("predictor", self.predictor, 1, 3)

    @property
    def order(self) -> int:
        """The order of the corrected run."""
        return self.predictor + 1

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Correct the last step and take the next; memory holds x of the start and the predictions before."""
        unused(noise, self)
        x, past = corrected(state, prediction), state.memory[1 : self.predictor]
        now = State(state.grid, state.i, x, state.level, memory=past)
        return finish_step(state, predicted(now, prediction), memory=(x, prediction, *past))


def corrected(state: State[V], prediction: V) -> V:
    """Return x with the step that led to it taken again, now that the prediction at its end is known."""
    if not state.memory or math.isinf(state.grid[state.i - 1]):
        return state.x
    x, *past = state.memory
    step = state.grid[state.i - 1], state.level
    if len(past) == 1:
        return move(x, 0.5 * past[0] + 0.5 * prediction, *step)
    predictions = [(state.grid[state.i - k], x0) for k, x0 in enumerate((prediction, *past))]
    return exponential_step(x, predictions, step)


def predicted(state: State[V], prediction: V) -> V:
    """Return x at the end of the open step, from the prediction and those in memory."""
    if len(state.memory) < 2:
        return move(state.x, extrapolated(state, prediction), *state.step)
    return exponential_step(state.x, remembered(state, prediction), state.step)
