"""The unit frame: its two functions, and the moves between levels."""

import math

import pytest
from hypothesis import given, strategies as st

from unnoise.sampling.level import gap, move, noise_of, renew, signal, spread

LEVELS = st.floats(1e-6, 1e6) | st.just(math.inf)
NUMBERS = st.floats(-3.0, 3.0)


@given(LEVELS | st.just(0.0))
def test_x_has_unit_variance_at_every_level(sigma: float) -> None:
    assert math.isclose(math.hypot(signal(sigma), spread(sigma)), 1.0, rel_tol=1e-15)


@pytest.mark.parametrize(("sigma", "clean", "noisy"), [(0.0, 1.0, 0.0), (math.inf, 0.0, 1.0), (0.75, 0.8, 0.6)])
def test_signal_and_spread(sigma: float, clean: float, noisy: float) -> None:
    assert (signal(sigma), spread(sigma)) == (clean, noisy)


@given(LEVELS)
def test_their_ratio_is_sigma(sigma: float) -> None:
    assert math.isinf(sigma) or math.isclose(spread(sigma) / signal(sigma), sigma, rel_tol=1e-14)


def test_gap_is_half_the_log_snr_gained() -> None:
    gained = math.log(signal(0.5) ** 2 / spread(0.5) ** 2) - math.log(signal(4.0) ** 2 / spread(4.0) ** 2)
    assert math.isclose(gap(4.0, 0.5), gained / 2)


@given(LEVELS, LEVELS | st.just(0.0), NUMBERS, NUMBERS)
def test_move_keeps_the_truth(here: float, there: float, x0: float, eps: float) -> None:
    """Where x is made of x0 and eps, every level up or down is reached exactly, and eps is found again."""
    x = signal(here) * x0 + spread(here) * eps
    there_x = signal(there) * x0 + spread(there) * eps
    slack = 1e-12 * max(1.0, spread(there) / spread(here))
    assert math.isclose(move(x, x0, here, there), there_x, rel_tol=1e-12, abs_tol=slack)
    assert math.isclose(noise_of(x, x0, here), eps, rel_tol=1e-12, abs_tol=1e-15 * (3 + 3 / spread(here)) * 10)


@given(LEVELS, NUMBERS, NUMBERS)
def test_move_is_exact_at_both_ends(here: float, x: float, x0: float) -> None:
    assert move(x, x0, here, 0.0) == x0
    assert move(x, x0, math.inf, 2.0) == spread(2.0) * x + signal(2.0) * x0
    assert move(x, x0, here, math.inf) == 1.0 / spread(here) * x + -1.0 / here * x0


@given(LEVELS, LEVELS | st.just(0.0), NUMBERS, NUMBERS, NUMBERS)
def test_renew_goes_from_move_to_fresh_noise(here: float, there: float, x: float, x0: float, noise: float) -> None:
    assert renew(x, x0, noise, here, there, 0.0) == move(x, x0, here, there)
    assert renew(x, x0, noise, here, there, 1.0) == signal(there) * x0 + spread(there) * noise


@given(LEVELS, LEVELS, st.floats(0.0, 1.0))
def test_renew_keeps_the_variance(here: float, there: float, share: float) -> None:
    """Its parts on x0, eps and fresh noise, read off by asking with one of them at a time."""
    kept = renew(spread(here), 0.0, 0.0, here, there, share)
    fresh = renew(0.0, 0.0, 1.0, here, there, share)
    assert math.isclose(math.hypot(kept, fresh), spread(there), rel_tol=1e-12)
