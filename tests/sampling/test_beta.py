"""The beta distribution: its closed forms, an integral of its density, and what it refuses."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from unnoise.errors import InputError
from unnoise.sampling.beta import cdf, quantile

PROBABILITIES = [1e-12, 1e-6, 0.001, 0.1, 0.25, 0.5, 0.7, 0.9, 0.999, 1 - 1e-9]
SHAPES = st.floats(0.2, 20.0)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_closed_forms(p: float) -> None:
    assert quantile(p, 1.0, 1.0) == pytest.approx(p, rel=1e-12)
    assert quantile(p, 0.5, 0.5) == pytest.approx(math.sin(math.pi * p / 2) ** 2, rel=1e-12)
    for shape in (0.3, 0.6, 2.0, 7.5):
        assert quantile(p, shape, 1.0) == pytest.approx(p ** (1 / shape), rel=1e-11)
        assert quantile(p, 1.0, shape) == pytest.approx(-math.expm1(math.log1p(-p) / shape), rel=1e-11)


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.01, 0.3, 0.5, 0.8, 0.99, 1.0])
def test_whole_shapes_are_polynomials(x: float) -> None:
    assert cdf(x, 2.0, 2.0) == pytest.approx(3 * x**2 - 2 * x**3, rel=1e-12)
    assert cdf(x, 3.0, 2.0) == pytest.approx(4 * x**3 - 3 * x**4, rel=1e-12)
    binomial = sum(math.comb(59, k) * x**k * (1 - x) ** (59 - k) for k in range(40, 60))
    assert cdf(x, 40.0, 20.0) == pytest.approx(binomial, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("x", [0.05, 0.2, 0.45, 0.7])
@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.6, 0.9), (2.5, 0.7)])
def test_density_integrates_to_cdf(x: float, a: float, b: float) -> None:
    """Simpson's rule in u = t^a, where the density has no pole at 0."""
    pieces = 2000
    points = [(x**a * i / pieces) ** (1 / a) for i in range(pieces + 1)]
    weights = [1.0, *(4.0 if i % 2 else 2.0 for i in range(1, pieces)), 1.0]
    total = sum(weight * (1 - t) ** (b - 1) for weight, t in zip(weights, points, strict=True))
    whole = math.gamma(a) * math.gamma(b) / math.gamma(a + b)
    assert cdf(x, a, b) == pytest.approx(total * x**a / (3 * pieces * a * whole), rel=1e-6)


@given(st.floats(1e-9, 1 - 1e-9), SHAPES, SHAPES)
def test_quantile_inverts_cdf(p: float, a: float, b: float) -> None:
    x = quantile(p, a, b)
    assert x in (0.0, 1.0) or cdf(x, a, b) == pytest.approx(p, rel=1e-6) or 1 - x < 1e-14
    assert quantile(1 - p, b, a) == pytest.approx(1 - x, abs=1e-7)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.3, 4.0), (5.0, 0.4), (30.0, 60.0)])
def test_quantiles_ascend_from_0_to_1(a: float, b: float) -> None:
    found = [quantile(i / 200, a, b) for i in range(201)]
    assert (found[0], found[-1]) == (0.0, 1.0)
    assert all(here < there for here, there in pairwise(found))


@pytest.mark.parametrize("shape", [0.0, -1.0, math.nan, math.inf, 101.0])
def test_shapes_out_of_range_are_refused(shape: float) -> None:
    with pytest.raises(InputError, match=r"^a .*: a shape parameter above 0, at most 100"):
        quantile(0.5, shape, 1.0)
    with pytest.raises(InputError, match=r"^b .*: a shape parameter above 0"):
        cdf(0.5, 1.0, shape)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_probabilities_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"^p .*: a probability from 0 to 1"):
        quantile(share, 0.6, 0.6)
    with pytest.raises(InputError, match=r"^x .*: a number from 0 to 1"):
        cdf(share, 0.6, 0.6)
