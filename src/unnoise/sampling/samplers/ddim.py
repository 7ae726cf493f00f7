"""DDIM and its stochastic variants: hold x0-hat constant over a step, and renew a part of the noise.

    x' = signal'·x0-hat + spread'·(sqrt(1 - k^2)·eps-hat + k·noise)      k = eta·sqrt(1 - (sigma'/sigma)^2)

eta = 0 is DDIM, which on the sigma axis is Euler's method for the probability flow: in the unit frame they are one.
eta = 1 is the ancestral step of DDPM, which on the sigma axis is the Euler-ancestral step: again one.
From sigma = inf, k = eta; to sigma = 0, x' is x0-hat itself.

Order 1 (eta > 0: weak order 1), one query a step.
Source: Song et al. 2021a (DDIM), eq. 12 and 16; Ho et al. 2020 (DDPM), eq. 7.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import InputError
from unnoise.sampling.level import V, move, renew, renewal
from unnoise.sampling.state import State, finish_step, fitting


@dataclass(frozen=True, slots=True)
class DDIM:
    """Step along x0-hat, with eta in [0, 1]: 0 renews no noise, 1 renews as much as DDPM does."""

    eta: float = 0.0
    order: ClassVar[int] = 1
    queries: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta {self.eta!r}: from 0 (deterministic) to 1 (ancestral)")

    @property
    def stochastic(self) -> bool:
        """True if a step draws noise: eta > 0."""
        return self.eta > 0

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; raises InputError when noise is missing or not used."""
        fresh, (here, there) = fitting(noise, self), state.step
        if fresh is None:
            return finish_step(state, move(state.x, prediction, here, there))
        return finish_step(state, renew(state.x, prediction, fresh, here, there, share=self.eta * renewal(here, there)))


def Ancestral() -> DDIM:
    """Return DDIM with eta = 1, the step of DDPM; also known as Euler-ancestral."""
    return DDIM(eta=1.0)


Euler = DDIM
EulerAncestral = DDPM = Ancestral
