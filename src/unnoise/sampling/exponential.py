"""The exponential step: the exact solution where x0-hat is a polynomial in lambda = -log(sigma).

With h = log(sigma/sigma') and noise renewed at the rate tau^2 (0: the probability flow, 1: the reverse diffusion of
DDPM),

    x' = spread'/spread·e^(-tau^2·h)·x + signal'·sum_j w_j·x0-hat_j + spread'·sqrt(1 - e^(-2·tau^2·h))·noise
    w_j = (1 + tau^2)·integral_0^h e^((1 + tau^2)·(u - h))·L_j(u) du

with L_j the Lagrange polynomials of the levels at which x0-hat_j were predicted. One prediction gives `move` and
`renew`.
Source: Lu et al. 2022b (DPM-Solver++), proposition 4.1 (tau = 0); Xue et al. 2023 (SA-Solver), proposition 4.2.
"""

import math
from collections.abc import Sequence

from unnoise.sampling.level import V, blend, gap, move, renew, renewal, signal, spread
from unnoise.sampling.multistep import exponential


def exponential_step(
    x: V, predictions: Sequence[tuple[float, V]], step: tuple[float, float], tau: float = 0.0, noise: V | None = None
) -> V:
    """Return x at the end of a step, with x0-hat on the polynomial through the predictions.

    Lambda is infinite at sigma = 0 and inf. A step from or to these levels uses the first prediction only, and other
    steps ignore predictions at inf.

    Args:
        x: at the start of the step.
        predictions: (level, x0-hat) of one to four predictions, newest first.
        step: the levels of the start and the end.
        tau: from 0 up, the rate of renewal.
        noise: N(0, I), for tau > 0.

    Raises InputError for tau > 0 in a step that rises.
    """
    here, there = step
    inside = 0 < there < math.inf and here < math.inf
    known = [(level, x0) for level, x0 in predictions if level < math.inf] if inside else predictions[:1]
    share = renewal(here, there, tau) if tau else 0.0
    if len(known) == 1:
        only = known[0][1]
        return move(x, only, here, there) if noise is None else renew(x, only, noise, here, there, share)
    nodes = [gap(here, level) for level, _ in known]
    x0 = blend(exponential(nodes, gap(here, there), 1.0 + tau * tau), [x0 for _, x0 in known])
    moved = spread(there) / spread(here) * math.sqrt(1.0 - share * share) * x + signal(there) * x0
    return moved if noise is None else moved + spread(there) * share * noise
