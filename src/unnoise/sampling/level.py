"""The unit frame: place a level of noise, and move from one level to another.

    x = signal·x0 + spread·eps      signal = 1/sqrt(1 + sigma^2)      spread = sigma/sqrt(1 + sigma^2)

x0 has zero mean and unit variance, sigma runs from 0 (clean) to inf (pure noise), so x has unit variance at every level
and the noise to start from is N(0, I), whatever the model. A network predicts x0-hat = E[x0 | x]; it determines
eps-hat = (x - signal·x0-hat)/spread, and the probability flow reads

    dx = x0-hat·d(signal) + eps-hat·d(spread)

which is regular from sigma = inf down to 0. Every deterministic sampler here integrates that line, every stochastic one
also exchanges some of eps-hat for fresh noise.

The same line is straight in other units: with  place = spread/(signal + spread) = sigma/(1 + sigma),

    y = x/(signal + spread) = (1 - place)·x0 + place·eps      dy = flow·d(place)      flow = eps-hat - x0-hat

so methods for dy/d(place) average or extrapolate `flow`, and need nothing else.

Source: Song et al. 2021b (score SDE), eq. 13, in the variables of Karras et al. 2022 (EDM), eq. 4, scaled by signal;
Liu et al. 2023 (rectified flow), eq. 1, for the straight line.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from unnoise.errors import InputError


class Vector(Protocol):
    """Anything that adds to its like and is multiplied by a float: floats, numpy arrays, torch tensors."""

    def __add__(self, other: Any, /) -> Any: ...
    def __rmul__(self, factor: Any, /) -> Any: ...


V = TypeVar("V", bound=Vector)


def signal(sigma: float) -> float:
    """Return the coefficient of x0 in x at sigma in [0, inf]:  1/sqrt(1 + sigma^2), from 1 down to 0."""
    return 1.0 / math.hypot(1.0, sigma)


def spread(sigma: float) -> float:
    """Return the coefficient of noise in x at sigma in [0, inf]:  sigma/sqrt(1 + sigma^2), from 0 up to 1."""
    return 1.0 if math.isinf(sigma) else sigma / math.hypot(1.0, sigma)


def gap(here: float, there: float) -> float:
    """Return the log-SNR gained between two levels, halved:  log(here/there), for here > 0 and finite there > 0."""
    return math.log(here / there)


def place(sigma: float) -> float:
    """Return how far from x0 to the noise x is, from 0 at sigma = 0 to 1 at inf:  sigma/(1 + sigma)."""
    return 1.0 if math.isinf(sigma) else sigma / (1.0 + sigma)


def flow_of(x: V, x0: V, sigma: float) -> V:
    """Return the direction from x0 to the noise that it leaves in x, sigma > 0:  eps - x0 = x/spread - x0/place."""
    return 1.0 / spread(sigma) * x + -1.0 / place(sigma) * x0


def blend(weights: Sequence[float], values: Sequence[V]) -> V:
    """Return the weighted sum of one value or more, accumulated in place on its first term to save memory."""
    total: V = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        total += weight * value
    return total


def eps_of(x: V, x0: V, sigma: float) -> V:
    """Return the noise that x0 leaves in x, sigma > 0:  eps = (x - signal·x0)/spread."""
    return 1.0 / spread(sigma) * x + -1.0 / sigma * x0


def move(x: V, x0: V, here: float, there: float) -> V:
    """Carry x from one level to another, up or down, as if x0 were the truth: exact at here = inf and at there = 0.

    x' = (spread'/spread)·x + signal'·(1 - sigma'/sigma)·x0,  the solution for a constant x0.
    Source: Song et al. 2021a (DDIM), eq. 12 with its sigma_t = 0.
    """
    return spread(there) / spread(here) * x + (signal(there) - spread(there) / here) * x0


def glide(x: V, flow: V, here: float, there: float) -> V:
    """Carry x from one level to another, up or down, along a flow; with the flow of x0 itself it is `move`.

    x' = (signal' + spread')·(x/(signal + spread) + (place' - place)·flow)
    Source: Liu et al. 2023 (rectified flow), eq. 1, in the unit frame.
    """
    wide = signal(there) + spread(there)
    return wide / (signal(here) + spread(here)) * x + wide * (place(there) - place(here)) * flow


def drift(x: V, eps: V, here: float, there: float) -> V:
    """Carry x from one finite level to another along a noise; with the eps of x0 itself it is `move`.

    x' = signal'·(x/signal + (sigma' - sigma)·eps),  on the axis where data have constant size and noise grows.
    Source: Karras et al. 2022 (EDM), eq. 4, times signal.
    """
    return signal(there) / signal(here) * x + signal(there) * (there - here) * eps


def renewal(here: float, there: float, tau: float = 1.0) -> float:
    """Return the share of noise that a step of reverse diffusion renews:  sqrt(1 - (sigma'/sigma)^(2·tau^2)).

    tau = 1 is the exact posterior of DDPM, 0 the probability flow, which renews none.
    Raises InputError when the step rises: there is no reverse posterior of a forward step.
    """
    descends(here, there)
    return math.sqrt(1.0 - (there / here) ** (2.0 * tau * tau))


def descends(here: float, there: float) -> None:
    """Raise InputError when a step of a stochastic sampler rises."""
    if there > here:
        raise InputError(f"step from {here:g} to {there:g}: a stochastic sampler only descends")


def renew(x: V, x0: V, noise: V, here: float, there: float, share: float) -> V:
    """Carry x as `move` does, with a share in [0, 1] of its noise replaced by fresh noise of the same variance.

    x' = signal'·x0 + spread'·(sqrt(1 - share^2)·eps + share·noise),  so share 0 is `move` and share 1 drops eps.
    Source: Song et al. 2021a (DDIM), eq. 12 with its sigma_t = share·spread'.
    """
    kept = spread(there) * math.sqrt(1.0 - share * share)
    return kept / spread(here) * x + (signal(there) - kept / here) * x0 + spread(there) * share * noise
