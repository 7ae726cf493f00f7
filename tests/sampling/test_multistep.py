"""The weights of multistep methods: exact for polynomials, at any step from tiny to huge, and as published."""

import math

import numpy as np
import pytest

from unnoise.sampling.exponential import exponential_step
from unnoise.sampling.level import signal, spread
from unnoise.sampling.multistep import adams, coefficients, exponential, lagrange, moments

CUBIC = np.polynomial.Polynomial([0.3, -1.0, 2.0, 0.7])


def test_adams_weights_are_the_published_ones_for_equal_steps() -> None:
    """Source: Liu et al. 2022 (PNDM), for order 4; Zhang & Chen 2022, iPNDM, for the orders of a cold start."""
    assert adams([0.6, 0.7, 0.8, 0.9], 0.5) == pytest.approx([55 / 24, -59 / 24, 37 / 24, -9 / 24], rel=1e-12)
    assert adams([0.6, 0.7, 0.8], 0.5) == pytest.approx([23 / 12, -16 / 12, 5 / 12], rel=1e-12)
    assert adams([0.6, 0.7], 0.5) == pytest.approx([3 / 2, -1 / 2], rel=1e-12)
    assert adams([0.6], 0.5) == [1.0]


def test_adams_is_exact_for_a_cubic_on_uneven_nodes() -> None:
    nodes, integral = [0.65, 0.7, 0.93, 1.0], CUBIC.integ()
    combined = sum(w * CUBIC(at) for w, at in zip(adams(nodes, 0.3), nodes, strict=True))
    assert combined == pytest.approx((integral(0.3) - integral(0.65)) / (0.3 - 0.65), rel=1e-12)


def test_coefficients_are_those_of_lagrange() -> None:
    nodes = [0.0, -0.4, 0.7, -1.3]
    for j in range(4):
        assert np.polynomial.Polynomial(coefficients(nodes, j))(0.37) == pytest.approx(lagrange(nodes, j, 0.37))


@pytest.mark.parametrize("rate", [-1.0, 1.0, 1.25, 2.0])
@pytest.mark.parametrize("h", [1e-6, 0.01, 0.5, 0.999, 1.001, 3.0, 20.0])
def test_exponential_is_exact_for_a_cubic(h: float, rate: float) -> None:
    """Against Gauss-Legendre with 60 nodes, which is exact here to rounding."""
    nodes = [0.0, -0.4 * h, 0.7 * h, -1.3 * h]
    at, share = np.polynomial.legendre.leggauss(60)
    u = (at + 1) * h / 2
    cubic = CUBIC(u / h)
    integral = (share * rate * np.exp(rate * (u - h)) * cubic).sum() * h / 2
    combined = sum(w * CUBIC(node / h) for w, node in zip(exponential(nodes, h, rate), nodes, strict=True))
    assert combined == pytest.approx(integral, rel=1e-9)
    assert sum(exponential(nodes, h, rate)) == pytest.approx(-math.expm1(-rate * h), rel=1e-9)


def test_both_formulas_of_the_moments_agree() -> None:
    assert moments(4, 1.0 - 1e-12, 1.0) == pytest.approx(moments(4, 1.0 + 1e-12, 1.0), rel=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
def test_the_exponential_step_is_the_solution_for_a_parabola_of_lambda(tau: float) -> None:
    """Source: Lu et al. 2022b, eq. 9, and Xue et al. 2023, eq. 7, summed over 40000 slices."""
    here, there, x, noise = 2.0, 0.6, 0.4, 1.7
    levels = [2.0, 3.5, 5.0]

    def x0(level: float) -> float:
        return 1.0 + 0.7 * math.log(level) - 0.2 * math.log(level) ** 2

    h, n, rate = math.log(here / there), 40000, 1 + tau * tau
    u = (np.arange(n) + 0.5) * h / n
    values = np.array([1.0 + 0.7 * (math.log(here) - a) - 0.2 * (math.log(here) - a) ** 2 for a in u])
    pull = rate * (np.exp(rate * (u - h)) * values).sum() * h / n
    renewed = math.sqrt(-math.expm1(-2 * tau * tau * h)) * noise
    solved = spread(there) * (math.exp(-tau * tau * h) * x / spread(here) + renewed) + signal(there) * pull
    found = exponential_step(x, [(level, x0(level)) for level in levels], (here, there), tau, noise if tau else None)
    assert found == pytest.approx(solved, rel=1e-8)
