"""The oracle itself: a wrong one would pass wrong samplers."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from sampling.oracle import Array, Mixture, mixture, scaled

LINE = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([[0.25], [0.4]]))
LEVELS = [0.0, 0.1, 1.0, 9.0, math.inf]


def drawn(cloud: Mixture, count: int) -> tuple[Array, Array]:
    """Draw x0 and noise."""
    rng = np.random.default_rng(0)
    k = rng.choice(len(cloud.weights), count, p=cloud.weights)
    x0 = cloud.means[k] + cloud.deviations[k] * rng.normal(size=(count, *cloud.means.shape[1:]))
    return x0, rng.normal(size=x0.shape)


@pytest.mark.parametrize("sigma", LEVELS)
def test_denoiser_is_the_regression(sigma: float) -> None:
    """The residue x0 - E[x0 | x] is uncorrelated with any function of x; several are tested."""
    x0, noise = drawn(LINE, 40000)
    angle = math.atan(sigma)
    x = math.cos(angle) * x0 + math.sin(angle) * noise
    residue = x0 - LINE.denoise(x, sigma)
    for test in (np.ones_like(x), x, x**2, np.sin(3 * x)):
        product = residue * test
        assert abs(product.mean()) <= 4 * product.std() / math.sqrt(len(x)) + 1e-12


def test_denoiser_at_the_ends() -> None:
    x = np.array([[0.3], [-2.0]])
    assert np.allclose(LINE.denoise(x, 0.0), x, rtol=1e-14)
    assert np.allclose(LINE.denoise(x, math.inf), LINE.moments()[0], rtol=1e-14)


def test_flow_carries_quantiles_to_quantiles() -> None:
    """In one dimension the flow is monotone, so it is the transport between the two distributions."""
    start = np.linspace(-2, 2, 9)[:, None]
    end = LINE.solve(start, math.inf, 0.0, steps=200)
    parts = [NormalDist(m[0], d[0]) for m, d in zip(LINE.means, LINE.deviations, strict=True)]
    below = [sum(w * p.cdf(x) for w, p in zip(LINE.weights, parts, strict=True)) for x in end[:, 0]]
    assert below == pytest.approx([NormalDist().cdf(x) for x in start[:, 0]], abs=1e-8)


def test_flow_of_a_gaussian_is_a_scaling() -> None:
    cloud = Mixture(np.ones(1), np.array([[0.5, -1.0]]), np.array([[0.2, 1.7]]))
    x = np.array([[0.3, 0.9]])
    assert np.allclose(cloud.solve(x, math.inf, 0.0), cloud.means + cloud.deviations * x, atol=1e-9)


def test_levels_may_differ_within_a_batch() -> None:
    cloud = mixture((3, 2))
    x = np.random.default_rng(1).normal(size=(len(LEVELS), 3, 2))
    each = np.concatenate([cloud.denoise(x[k : k + 1], sigma) for k, sigma in enumerate(LEVELS)])
    assert np.array_equal(cloud.denoise(x, np.array(LEVELS)), each)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 3, 4), (1, 2, 3, 2)])
def test_mixture_has_zero_mean_and_unit_variance(shape: tuple[int, ...]) -> None:
    mean, variance = scaled(mixture(shape, seed=3)).moments()
    assert mean.shape == shape
    assert np.abs(mean).max() < 1e-12
    assert math.isclose(variance.mean(), 1.0)
