"""EDM's Heun with churn: add a little noise before each step, then step by the trapezoidal rule along sigma.

    sigma^ = (1 + gamma)·sigma       x^ = signal^·(x/signal + sqrt(sigma^^2 - sigma^2)·inflate·noise)
    x~ = move(x^, x0-hat)            first query at x^, second at x~
    x' = drift(x^, (eps-hat + eps-hat~)/2)
    gamma = min(churn/steps, sqrt(2) - 1) where sigma lies `between` two levels, else 0

The added noise corrects errors of past steps; too much of it adds errors of its own. The first step has no churn, since
x is pure noise. Levels here are EDM's divided by sigma_data, which is 0.5 there.

Order 2 without churn, two queries a step; a step to sigma = 0 is DDIM, one query. There is no step from sigma = inf.
Source: Karras et al. 2022 (EDM), algorithm 2; defaults from table 5, ImageNet-64, S_min = 0.05 and S_max = 50 over 0.5.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import InputError
from unnoise.sampling.level import V, descends, drift, eps_of, move, signal
from unnoise.sampling.state import State, finish_step, finite, fitting


@dataclass(frozen=True, slots=True)
class EDMHeun:
    """Step by the trapezoidal rule along sigma; churn >= 0 counts in steps, inflate is the size of its noise."""

    churn: float = 40.0
    between: tuple[float, float] = (0.1, 100.0)
    inflate: float = 1.003
    order: ClassVar[int] = 2
    queries: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 <= self.churn < math.inf:
            raise InputError(f"churn {self.churn!r}: a finite number from 0 (deterministic) up")
        if not 0 <= self.between[0] < self.between[1]:
            raise InputError(f"between {self.between!r}: a lower and a higher level, 0 to inf")
        if not 0.9 <= self.inflate <= 1.1:
            raise InputError(f"inflate {self.inflate!r}: from 0.9 to 1.1; 1 is exactly the noise of the level")

    @property
    def stochastic(self) -> bool:
        """True if a step draws noise: churn > 0."""
        return self.churn > 0

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue with the prediction of x0 at state.x; fresh noise is added at the end of a step; memory: x, eps-hat.

        Raises InputError for a step from or to sigma = inf, and with churn for one that rises.
        """
        fresh, (here, there) = fitting(noise, self), state.step
        finite(max(here, there), self)
        if fresh is not None:
            descends(here, there)
        if there == 0:
            return finish_step(state, move(state.x, prediction, state.level, there))
        if state.stage == 0:
            memory = (state.x, eps_of(state.x, prediction, state.level))
            x = move(state.x, prediction, state.level, there)
            return State(state.grid, state.i, x, there, stage=1, memory=memory)
        x, eps = state.memory
        mean = 0.5 * eps + 0.5 * eps_of(state.x, prediction, there)
        ended = finish_step(state, drift(x, mean, self.churned(state, here), there))
        return ended if fresh is None or ended.done else self.raised(ended, fresh)

    def churned(self, state: State[V], level: float) -> float:
        """Return the level after churn for a level of the grid; the first state has no churn."""
        if state.i == 0 or not self.between[0] <= level <= self.between[1]:
            return level
        return level * (1.0 + min(self.churn / (len(state.grid) - 1), math.sqrt(2) - 1))

    def raised(self, state: State[V], noise: V) -> State[V]:
        """Return a state with fresh noise added up to the level after churn."""
        here, high = state.level, self.churned(state, state.level)
        added = math.sqrt(high * high - here * here) * self.inflate
        x = signal(high) / signal(here) * state.x + signal(high) * added * noise
        return State(state.grid, state.i, x, high)
