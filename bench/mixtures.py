"""Eighteen Gaussian mixtures other than those of tests/sampling/bench.py, with their exact solutions, as one batch.

Dimensions 2 to 64, 1 to 40 modes, sharp and soft, even and uneven weights, flat and falling spectra, means at random,
in clusters, on corners, along a curve, with heavy tails. They are padded to one shape, so that a sampler walks all of
them at once: it acts on each coordinate alone. The denoiser is that of tests/sampling/oracle.py in matrix products.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sampling.oracle import Mixture, scaled

Array = NDArray[np.float64]

# dimensions, modes, how the means lie, deviations from .. to, power of the falling spectrum
FAMILY = (
    (2, 5, "normal", 0.03, 0.08, 0.0),
    (2, 40, "curve", 0.04, 0.06, 0.0),
    (3, 8, "corners", 0.05, 0.3, 0.0),
    (4, 3, "normal", 0.1, 0.9, 0.0),
    (6, 16, "clusters", 0.05, 0.15, 0.0),
    (8, 1, "normal", 0.2, 2.0, 0.0),
    (8, 25, "tails", 0.1, 0.3, 0.0),
    (10, 6, "normal", 0.02, 0.05, 0.0),
    (12, 40, "curve", 0.1, 0.2, 0.5),
    (16, 2, "corners", 0.3, 0.6, 0.0),
    (16, 14, "normal", 0.25, 0.5, 0.5),
    (20, 32, "clusters", 0.2, 0.6, 0.0),
    (24, 4, "tails", 0.4, 1.2, 0.7),
    (32, 20, "normal", 0.05, 0.1, 1.0),
    (32, 9, "corners", 0.15, 0.3, 0.3),
    (48, 40, "clusters", 0.1, 0.4, 0.8),
    (64, 12, "tails", 0.3, 0.9, 1.0),
    (64, 30, "normal", 0.5, 1.0, 0.4),
)


def mixtures(seed: int) -> list[Mixture]:
    """Draw the family, each of zero mean and of unit variance on average over coordinates."""
    return [drawn(np.random.default_rng([seed, i]), *entry) for i, entry in enumerate(FAMILY)]


def drawn(rng: np.random.Generator, dims: int, modes: int, lie: str, low: float, high: float, power: float) -> Mixture:
    """Draw one mixture; deviations are log-uniform from low to high, times the spectrum rank^-power."""
    spectrum = np.arange(1, dims + 1) ** -power
    if lie == "corners":
        means = rng.choice([-1.0, 1.0], (modes, dims))
    elif lie == "clusters":
        means = rng.normal(size=(4, dims))[rng.integers(4, size=modes)] + 0.3 * rng.normal(size=(modes, dims))
    elif lie == "tails":
        means = rng.standard_t(3, (modes, dims))
    elif lie == "curve":
        along = np.linspace(0, 1, modes)[:, None] * 2 * np.pi
        means = np.cos(along * np.arange(1, dims + 1) / 2 + rng.uniform(0, 2 * np.pi, dims))
    else:
        means = rng.normal(size=(modes, dims))
    weights = rng.dirichlet(np.full(modes, 3.0))
    deviations = np.exp(rng.uniform(math.log(low), math.log(high), (modes, dims)))
    return scaled(Mixture(weights, means * spectrum, deviations * spectrum))


@dataclass(frozen=True)
class Stack(Mixture):
    """Hold M mixtures as one: weights (M, K), means and deviations (M, K, D), and which coordinates are real: (M, D).

    A missing mode has weight 0, a missing coordinate is N(0, 1) in every mode.
    """

    real: Array

    def posterior(self, x: Array, signal: Array, spread: Array) -> tuple[Array, Array]:
        """Return the expected x0 and noise given x: (M, P, D), as Mixture does, in matrix products."""
        s, r = signal[0], spread[0]
        inverse = 1 / (s * s * self.deviations**2 + r * r)
        pull = s * self.means * inverse
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) + 0.5 * (np.log(inverse) - s * self.means * pull).sum(2)
        fit = -0.5 * (x * x) @ inverse.transpose(0, 2, 1) + x @ pull.transpose(0, 2, 1) + constant[:, None]
        share = np.exp(fit - fit.max(2, keepdims=True))
        share /= share.sum(2, keepdims=True)
        clean = share @ (r * r * self.means * inverse) + x * (share @ (s * self.deviations**2 * inverse))
        return clean, r * (x * (share @ inverse) - share @ pull)

    def noise(self, points: int, seed: int) -> Array:
        """Draw the noise to start from: (M, points, D)."""
        return np.random.default_rng(seed).normal(size=(len(self.means), points, self.means.shape[2]))

    def exact(self, noise: Array, high: float, steps: int = 400) -> Array:
        """Carry unit noise from sigma = high to 0, with as many steps above 1 as below, and near 0."""
        for here, there in ((high, 1.0), (1.0, 0.1), (0.1, 0.0)):
            noise = self.solve(noise, here, there, steps)
        return noise

    def errors(self, x: Array, exact: Array) -> Array:
        """Return for each mixture the mean over points of the root mean square over coordinates: (M,)."""
        away = ((x - exact) ** 2 * self.real[:, None]).sum(2) / self.real.sum(1)[:, None]
        return np.sqrt(away).mean(1)


def stack(clouds: list[Mixture]) -> Stack:
    """Pad mixtures to one shape."""
    modes, dims = (max(cloud.means.shape[axis] for cloud in clouds) for axis in (0, 1))
    weights, real = np.zeros((len(clouds), modes)), np.zeros((len(clouds), dims))
    means, deviations = np.zeros((len(clouds), modes, dims)), np.ones((len(clouds), modes, dims))
    for i, cloud in enumerate(clouds):
        k, d = cloud.means.shape
        weights[i, :k], real[i, :d] = cloud.weights, 1.0
        means[i, :k, :d], deviations[i, :k, :d] = cloud.means, cloud.deviations
    return Stack(weights, means, deviations, real)
