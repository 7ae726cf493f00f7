"""Multistep consistency: jump to x0-hat, then add entirely fresh noise up to the next level.

    x' = signal'·x0-hat + spread'·noise

For networks distilled to predict the end of the flow itself rather than the mean E[x0 | x]; such a network is exact in
one step, and further steps reduce its errors. With a plain denoiser this approximates no flow, and more steps do not
converge: hence order 0.

Order 0, one query a step, fresh noise at every step but one to sigma = 0, which returns x0-hat.
Source: Song et al. 2023 (consistency models), algorithm 1; Luo et al. 2023 (LCM), algorithm 3.
"""

from dataclasses import dataclass
from typing import ClassVar

from unnoise.sampling.level import V, renew
from unnoise.sampling.state import State, finish_step, needed


@dataclass(frozen=True, slots=True)
class Consistency:
    """Step to the predicted x0, then renew all the noise."""

    order: ClassVar[int] = 0
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x and fresh noise; raises InputError when it is missing."""
        return finish_step(state, renew(state.x, prediction, needed(noise, self), *state.step, share=1.0))


LCM = Consistency
