"""SA-Solver: predict and correct by stochastic Adams steps, with an adjustable amount of fresh noise.

    x~  the exponential step with noise along the polynomial through `predictor` x0-hat, now and before
    x'  the same step with the same noise, once the x0-hat at its end is known, along one through `corrector` of them

Both are the step of `sampling/exponential.py` with tau: 0 is the probability flow, 1 renews the noise as DDPM does,
more renews more. Noise corrects errors of past steps, but only over many steps: it helps above about twenty calls.

Order min(corrector, predictor + 1), or that of the predictor where corrector is 0, once warm; with noise weak order 2
at most. One more value in the corrector than in the predictor is best: with as many, errors of both nearly cancel at
the end of a run, and the rest falls unevenly with the steps. One query a step.
Lambda is infinite at both ends: a step from sigma = inf uses one prediction, uncorrected, and one to 0 returns it.
Source: Xue et al. 2023 (SA-Solver, arXiv 2309.05019), algorithm 1, eq. 14 and 17, in its form for x0 with constant tau.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import InputError, check_whole
from unnoise.sampling.exponential import exponential_step
from unnoise.sampling.level import V
from unnoise.sampling.state import State, finish_step, fitting


@dataclass(frozen=True, slots=True)
class SASolver:
    """Step along 1 to 4 predictions, correct along up to 4, and renew noise at the rate tau^2, tau in [0, 2]."""

    predictor: int = 2
    corrector: int = 3
    tau: float = 1.0
    queries: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_whole("predictor", self.predictor, 1, 4)
        check_whole("corrector", self.corrector, 0, 4)
        if not 0 <= self.tau <= 2:
            raise InputError(f"tau {self.tau!r}: from 0 (deterministic) to 2")

    @property
    def order(self) -> int:
        """The order once warm; with noise, the weak order."""
        order = min(self.corrector, self.predictor + 1) if self.corrector else self.predictor
        return min(order, 2) if self.stochastic else order

    @property
    def stochastic(self) -> bool:
        """True if a step draws noise: tau > 0."""
        return self.tau > 0

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Correct the last step and take the next; memory holds x of its start, its noise, and past predictions."""
        drawn = fitting(noise, self)
        fresh = () if drawn is None else (drawn,)
        before, past = state.memory[: 1 + len(fresh)], state.memory[1 + len(fresh) :]
        predictions = [(state.grid[state.i - k], x0) for k, x0 in enumerate((prediction, *past))]
        x, since = state.x, (state.grid[state.i - 1], state.level)
        if before and self.corrector and since[0] < math.inf:
            x = exponential_step(before[0], predictions[: self.corrector], since, self.tau, *before[1:])
        ahead = exponential_step(x, predictions[: self.predictor], state.step, self.tau, *fresh)
        kept = [x0 for _, x0 in predictions[: max(self.predictor, self.corrector) - 1]]
        return finish_step(state, ahead, memory=(x, *fresh, *kept))
