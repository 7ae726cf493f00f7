"""The exact oracle: a Gaussian mixture of any rank, whose denoiser, flow and samples have closed forms.

In the unit frame  x = signal·x0 + spread·eps,  x0 ~ sum_k weight_k N(mean_k, deviation_k^2),  component k of x is
N(signal·mean, v)  with  v = signal^2·deviation^2 + spread^2,  so that

    E[x0 | x, k] = mean + signal·deviation^2/v·(x - signal·mean)      E[eps | x, k] = spread/v·(x - signal·mean)

and both are regular from sigma = inf down to 0.
Source: Karras et al. 2022 (EDM), appendix B.3, the ideal denoiser, for a mixture in place of points.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mixture:
    """Hold weights: (K,), means: (K, *d) and deviations: (K, *d) > 0; given k, coordinates are independent."""

    weights: Array
    means: Array
    deviations: Array

    def posterior(self, x: Array, signal: Array, spread: Array) -> tuple[Array, Array]:
        """Return the expected x0 and the expected noise given x: (B, *d); signal and spread are (B,)."""
        inner = self.means.ndim - 1
        s, r = (v.reshape(-1, 1, *[1] * inner) for v in (signal, spread))
        variance = s * s * self.deviations**2 + r * r
        away = x[:, None] - s * self.means
        fit = (-0.5 * (away * away / variance + np.log(variance))).reshape(len(x), len(self.weights), -1).sum(-1)
        fit = fit + np.log(self.weights)
        share = np.exp(fit - fit.max(1, keepdims=True))
        share = (share / share.sum(1, keepdims=True)).reshape(*share.shape, *[1] * inner)
        clean = self.means + s * self.deviations**2 / variance * away
        return (share * clean).sum(1), (share * (r / variance * away)).sum(1)

    def denoise(self, x: Array, sigma: float | Array) -> Array:
        """Return E[x0 | x] for x: (B, *d) at sigma, a float or (B,), from 0 to inf."""
        return self.posterior(x, *frame(sigma, len(x)))[0]

    def solve(self, x: Array, here: float, there: float, steps: int = 400) -> Array:
        """Carry x along the probability flow from `here` to `there` by classical Runge-Kutta in atan(sigma)."""
        angle, h = math.atan(here), (math.atan(there) - math.atan(here)) / steps
        for i in range(steps):
            a = angle + i * h
            k1 = self.slope(x, a)
            k2 = self.slope(x + h / 2 * k1, a + h / 2)
            k3 = self.slope(x + h / 2 * k2, a + h / 2)
            k4 = self.slope(x + h * k3, a + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x

    def slope(self, x: Array, angle: float) -> Array:
        """Return dx/dangle of the probability flow: the expected  spread'·eps-hat + signal'·x0-hat."""
        s, r = np.full(len(x), math.cos(angle)), np.full(len(x), math.sin(angle))
        clean, noise = self.posterior(x, s, r)
        return math.cos(angle) * noise - math.sin(angle) * clean

    def moments(self) -> tuple[Array, Array]:
        """Return the mean and the variance of x0, each of shape d."""
        w = self.weights.reshape(-1, *[1] * (self.means.ndim - 1))
        mean = (w * self.means).sum(0)
        return mean, (w * (self.deviations**2 + self.means**2)).sum(0) - mean**2


def frame(sigma: float | Array, batch: int) -> tuple[Array, Array]:
    """Return signal and spread, each (B,), of a level or of one level for each sample."""
    angle = np.arctan(np.broadcast_to(np.asarray(sigma, dtype=np.float64), (batch,)))
    return np.where(np.isinf(sigma), 0.0, np.cos(angle)), np.sin(angle)


def scaled(mixture: Mixture) -> Mixture:
    """Return the mixture moved to zero mean and scaled to unit variance, on average over coordinates."""
    mean, variance = mixture.moments()
    scale = math.sqrt(variance.mean())
    return Mixture(mixture.weights, (mixture.means - mean) / scale, mixture.deviations / scale)


def mixture(shape: tuple[int, ...], modes: int = 3, seed: int = 0) -> Mixture:
    """Draw a mixture over data of this shape, of zero mean and unit variance, with unequal and anisotropic modes."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1.5, modes)
    size = (modes, *shape)
    return scaled(Mixture(weights / weights.sum(), rng.normal(size=size), rng.uniform(0.3, 1.0, size)))
