"""The unit frame: its functions of a level, and the moves between levels."""

import math
from itertools import product

import pytest

from unnoise.sampling.level import flow_of, gap, glide, move, place, renew, signal, spread

LEVELS = [1e-6, 0.01, 0.3, 0.75, 1.0, 4.0, 80.0, 1e6, math.inf]
ENDS = [0.0, *LEVELS]
NUMBERS = [-2.5, 0.0, 0.3, 1.7]


@pytest.mark.parametrize("sigma", [0.0, *LEVELS])
def test_x_has_unit_variance_at_every_level(sigma: float) -> None:
    assert math.isclose(math.hypot(signal(sigma), spread(sigma)), 1.0, rel_tol=1e-15)


@pytest.mark.parametrize(("sigma", "clean", "noisy"), [(0.0, 1.0, 0.0), (math.inf, 0.0, 1.0), (0.75, 0.8, 0.6)])
def test_signal_and_spread(sigma: float, clean: float, noisy: float) -> None:
    assert (signal(sigma), spread(sigma)) == (clean, noisy)


@pytest.mark.parametrize("sigma", LEVELS[:-1])
def test_their_ratio_is_sigma(sigma: float) -> None:
    assert math.isclose(spread(sigma) / signal(sigma), sigma, rel_tol=1e-14)


@pytest.mark.parametrize("sigma", LEVELS)
def test_place_is_the_time_of_a_straight_flow(sigma: float) -> None:
    assert math.isclose(place(sigma), spread(sigma) / (signal(sigma) + spread(sigma)), rel_tol=1e-14)
    assert (place(0.0), place(1.0), place(math.inf)) == (0.0, 0.5, 1.0)


def test_gap_is_half_the_log_snr_gained() -> None:
    gained = math.log(signal(0.5) ** 2 / spread(0.5) ** 2) - math.log(signal(4.0) ** 2 / spread(4.0) ** 2)
    assert math.isclose(gap(4.0, 0.5), gained / 2)


@pytest.mark.parametrize("here", LEVELS)
def test_moves_are_exact_for_the_true_x0(here: float) -> None:
    """Where x is composed of x0 and eps, both moves reach every level, up or down, and `flow_of` is exact."""
    for there, x0, eps in product(ENDS, NUMBERS, NUMBERS):
        slack = 1e-15 * max(1.0, spread(there) / spread(here))  # rounding in x grows as its noise does
        x = signal(here) * x0 + spread(here) * eps
        there_x = signal(there) * x0 + spread(there) * eps
        assert math.isclose(move(x, x0, here, there), there_x, rel_tol=1e-13, abs_tol=4 * slack)
        assert math.isclose(glide(x, eps - x0, here, there), there_x, rel_tol=1e-13, abs_tol=4 * slack)
        assert math.isclose(flow_of(x, x0, here), eps - x0, rel_tol=1e-13, abs_tol=4e-15 / spread(here))


@pytest.mark.parametrize("here", LEVELS)
def test_move_is_exact_at_both_ends(here: float) -> None:
    for x, x0 in product(NUMBERS, NUMBERS):
        assert move(x, x0, here, 0.0) == x0
        assert move(x, x0, math.inf, 2.0) == spread(2.0) * x + signal(2.0) * x0
        assert move(x, x0, here, math.inf) == 1.0 / spread(here) * x + -1.0 / here * x0


@pytest.mark.parametrize("here", LEVELS)
def test_renew_goes_from_move_to_fresh_noise(here: float) -> None:
    for there, x, x0, noise in product(ENDS, NUMBERS, NUMBERS, NUMBERS):
        assert renew(x, x0, noise, here, there, 0.0) == move(x, x0, here, there)
        assert renew(x, x0, noise, here, there, 1.0) == signal(there) * x0 + spread(there) * noise


@pytest.mark.parametrize("here", LEVELS)
def test_renew_keeps_the_variance(here: float) -> None:
    """The parts of old and of fresh noise, found by calling it with one of them at a time."""
    for there, share in product(ENDS, (0.0, 0.1, 0.6, 0.999, 1.0)):
        kept = renew(spread(here), 0.0, 0.0, here, there, share)
        fresh = renew(0.0, 0.0, 1.0, here, there, share)
        assert math.isclose(math.hypot(kept, fresh), spread(there), rel_tol=1e-12)
