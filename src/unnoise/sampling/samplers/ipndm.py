"""iPNDM: combine the present derivative with past ones, as Adams and Bashforth do.

The derivative of the flow has two parts, x0-hat along signal and eps-hat along spread. Each is interpolated by a
polynomial through its last `order` values over the angle a = atan(sigma), and integrated over the step:

    x' = x + sum_j  A_j·x0-hat_j + B_j·eps-hat_j      A_j = integral L_j(a) d(cos a)      B_j = integral L_j(a) d(sin a)

with L_j the Lagrange polynomial of past angle j. Signal is cos a and spread is sin a, smooth over the whole range, so a
run may start at sigma = inf, where the published form (weights on eps-hat along sigma) has no derivative. The weights
belong to the angles that were visited, so the order holds on any grid; the published (55, -59, 37, -9)/24 assume equal
steps. With one value known it is DDIM.

Order 1 to 4 once as many values are known. A run starts cold, with orders 1, 2, 3, 4 as published, and its first step
leaves an error of order 2 in the whole run. A step to sigma = 0 returns x0-hat. One query a step.
Source: Zhang & Chen 2022 (DEIS, arXiv 2204.13902), iPNDM and the integrated polynomial of tAB-DEIS, here in the unit
frame; Liu et al. 2022 (PNDM, arXiv 2202.09778) for the published weights.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from unnoise.errors import Refusal
from unnoise.sampling.level import V, move, noise_of, signal, spread
from unnoise.sampling.state import State, land, unused

# Gauss-Legendre with 4 nodes on [-1, 1], exact to degree 7.  Source: Abramowitz & Stegun 1964, eq. 25.4.30
INNER, OUTER = (math.sqrt(3 / 7 + side * 2 / 7 * math.sqrt(6 / 5)) for side in (-1, 1))
NODES = tuple(
    (place, (18 + side * math.sqrt(30)) / 36) for side, place in ((1, INNER), (1, -INNER), (-1, OUTER), (-1, -OUTER))
)


@dataclass(frozen=True, slots=True)
class IPNDM:
    """Step with the present and up to order - 1 past derivatives, order in 1 .. 4."""

    order: int = 4
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3, 4):
            raise Refusal(f"order {self.order!r}: 1, 2, 3 or 4")

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take one step from the prediction of x0 at state.x; memory holds x0-hat and eps-hat of each step before."""
        unused(noise, self)
        here, there = state.step
        known = (prediction, noise_of(state.x, prediction, here), *state.memory)
        if there == 0:
            return land(state, move(state.x, prediction, here, there))
        angles = [math.atan(state.grid[state.i - k]) for k in range(len(known) // 2)]
        x = state.x
        for (along, across), x0, eps in zip(weights(angles, here, there), known[::2], known[1::2], strict=True):
            x = x + along * x0 + across * eps
        return land(state, x, memory=known[: 2 * self.order - 2])


def weights(angles: list[float], here: float, there: float) -> list[tuple[float, float]]:
    """Return (A_j, B_j) for each known angle, newest first; they sum to signal' - signal and spread' - spread."""
    past = []
    for j in range(1, len(angles)):
        samples = [(a, w * lagrange(angles, j, a)) for a, w in nodes(angles[0], math.atan(there))]
        past.append((-sum(w * math.sin(a) for a, w in samples), sum(w * math.cos(a) for a, w in samples)))
    along = signal(there) - signal(here) - sum(a for a, _ in past)
    across = spread(there) - spread(here) - sum(b for _, b in past)
    return [(along, across), *past]


def nodes(first: float, last: float) -> list[tuple[float, float]]:
    """Return the angles and weights that integrate a function of the angle from first to last."""
    half = (last - first) / 2
    return [(first + half * (1 + place), half * weight) for place, weight in NODES]


def lagrange(angles: list[float], j: int, a: float) -> float:
    """Return at angle a the polynomial that is 1 at angles[j] and 0 at the others."""
    return math.prod((a - other) / (angles[j] - other) for k, other in enumerate(angles) if k != j)
