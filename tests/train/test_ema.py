"""EMA of weights: the profile, and any length from two averages."""

import numpy as np
import pytest
import torch

from unnoise.train.ema import Snapshot, coefficients, gamma, update

STEPS = 400


def walk() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(STEPS + 1, 5)).cumsum(axis=0)


def direct(path: np.ndarray, sigma_rel: float) -> np.ndarray:
    """Average a path by the recursion, in float64."""
    power, mean = gamma(sigma_rel), path[1]
    for t in range(1, STEPS + 1):
        beta = (1 - 1 / t) ** (power + 1)
        mean = beta * mean + (1 - beta) * path[t]
    return mean


@pytest.mark.parametrize(("sigma_rel", "expected"), [(0.05, 16.97), (0.10, 6.94)])
def test_gamma_is_edm2s(sigma_rel: float, expected: float) -> None:
    assert gamma(sigma_rel) == pytest.approx(expected, abs=0.01)


def test_a_profile_has_the_given_width() -> None:
    power = gamma(0.07)
    t = np.linspace(0, 1, 200_001)
    p = t**power / (t**power).sum()
    assert np.sqrt((p * t**2).sum() - (p * t).sum() ** 2) == pytest.approx(0.07, rel=1e-3)


@pytest.mark.parametrize("every", [1, 4])
def test_an_average_follows_its_recursion(every: int) -> None:
    """An update for several steps is one for each of them with the last weights: the product of their betas is beta."""
    path, track = walk(), {"w": torch.zeros(5, dtype=torch.float64)}
    for step in range(every, STEPS + 1, every):
        update([track], {"w": torch.from_numpy(path[step])}, [gamma(0.1)], step, every)
    seen = path[[-(-t // every) * every for t in range(STEPS + 1)]]
    np.testing.assert_allclose(track["w"].numpy(), direct(seen, 0.1), atol=1e-12)


def test_any_length_is_computed_from_two_averages() -> None:
    path, lengths, snapshots = walk(), (0.05, 0.1), []
    averages = [{"w": torch.zeros(5, dtype=torch.float64)} for _ in lengths]
    gammas = [gamma(length) for length in lengths]
    for step in range(1, STEPS + 1):
        update(averages, {"w": torch.from_numpy(path[step])}, gammas, step, 1)
        if step % 25 == 0:
            snapshots += [(Snapshot(g, step), t["w"].clone()) for g, t in zip(gammas, averages, strict=True)]
    for length in (0.05, 0.07, 0.1):
        weights = coefficients([snapshot for snapshot, _ in snapshots], length, STEPS)
        total = sum(w * tensor for w, (_, tensor) in zip(weights, snapshots, strict=True))
        plain = direct(path, length)
        apart = np.abs(total.numpy() - plain).max()
        assert apart < 0.05 * np.abs(path[-1] - plain).max() + 1e-9, length


def test_weights_of_snapshots_sum_to_one() -> None:
    known = [Snapshot(gamma(s), t) for s in (0.05, 0.1) for t in range(100, 1001, 100)]
    assert sum(coefficients(known, 0.08, 1000)) == pytest.approx(1, abs=5e-3)
