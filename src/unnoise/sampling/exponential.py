"""The exponential step: carry x along a polynomial through several x0-hat in lambda = -log(sigma), exactly.

With h = log(sigma/sigma') and noise that is renewed at the rate tau^2, 0 being the probability flow and 1 the reverse
diffusion of DDPM,

    x' = spread'/spread·e^(-tau^2·h)·x + signal'·sum_j w_j·x0-hat_j + spread'·sqrt(1 - e^(-2·tau^2·h))·noise
    w_j = (1 + tau^2)·integral_0^h e^((1 + tau^2)·(u - h))·L_j(u) du

with L_j the Lagrange polynomial of the levels that x0-hat_j answered. One answer gives `move` and `renew`.
Source: Lu et al. 2022b (DPM-Solver++), proposition 4.1 (tau = 0); Xue et al. 2023 (SA-Solver), proposition 4.2.
"""

import math
from collections.abc import Sequence

from unnoise.sampling.level import V, blend, gap, move, renew, renewal, signal, spread
from unnoise.sampling.multistep import exponential


def follow(
    x: V, answers: Sequence[tuple[float, V]], step: tuple[float, float], tau: float = 0.0, noise: V | None = None
) -> V:
    """Carry x over a step along the polynomial through answers, each a level with its x0-hat.

    Lambda is infinite at both ends: a step from or to them follows the first answer alone, and none at inf counts
    elsewhere. Raises InputError for tau > 0 in a step that rises.
    """
    here, there = step
    inside = 0 < there < math.inf and here < math.inf
    known = [(level, x0) for level, x0 in answers if level < math.inf] if inside else answers[:1]
    share = renewal(here, there, tau) if tau else 0.0
    if len(known) == 1:
        only = known[0][1]
        return move(x, only, here, there) if noise is None else renew(x, only, noise, here, there, share)
    nodes = [gap(here, level) for level, _ in known]
    x0 = blend(exponential(nodes, gap(here, there), 1.0 + tau * tau), [x0 for _, x0 in known])
    moved = spread(there) / spread(here) * math.sqrt(1.0 - share * share) * x + signal(there) * x0
    return moved if noise is None else moved + spread(there) * share * noise
