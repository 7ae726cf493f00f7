"""A fit to some noise of a mixture brings a few steps closer to the exact end for other noise."""

from math import inf

import pytest
import torch
from diffusion.mixture import Mixture, mixture
from torch import Tensor

from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling import DDIM, IPNDM, Heun
from unnoise.sampling.defaults import measured
from unnoise.sampling.samplers.ab import AB
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.state import run, start
from unnoise.tune.gauss_newton import FittedWeights, gauss_newton, run_fit
from unnoise.tune.grid import expected_calls, fit
from unnoise.tune.reference import FINE, Reference, at_one_level, rms_difference, trace, with_progress
from unnoise.tune.step_weights import fit_step_weights, ipndm_weights

CLOUD: Mixture = mixture((8,))
PLAIN = (DDIM(), IPNDM(3))


def noises(seed: int, rows: int = 64) -> Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return trace(CLOUD.denoise, noises(0))


@pytest.fixture(scope="module")
def others() -> Reference:
    return trace(CLOUD.denoise, noises(1))


def error(found: FittedWeights, reference: Reference) -> float:
    end = run(found.sampler, at_one_level(CLOUD.denoise), start(reference.states[0], found.grid))
    return float(rms_difference(end, reference.x0).mean())


def test_the_reference_has_converged(reference: Reference) -> None:
    finer = run(IPNDM(4), at_one_level(CLOUD.denoise), start(reference.states[0], measured(4 * FINE)))
    assert rms_difference(finer, reference.x0).mean() < 1e-4


@pytest.mark.parametrize("level", [40.0, 3.0, 0.4, 0.01])
def test_the_reference_is_interpolated_between_levels(reference: Reference, level: float) -> None:
    grid = [*(fine for fine in measured(4 * FINE) if fine > level * 1.001), level]
    exact = run(IPNDM(4), at_one_level(CLOUD.denoise), start(reference.states[0], grid))
    assert rms_difference(reference.at(level), exact).mean() < 1e-4
    assert rms_difference(reference.at(level * 1.1), exact).mean() > rms_difference(reference.at(level), exact).mean()


def test_the_reference_is_exact_at_its_own_levels(reference: Reference) -> None:
    for i in (0, 1, FINE // 2, FINE - 1, FINE):
        assert torch.allclose(reference.at(reference.levels[i]), reference.states[i], atol=1e-12)


@pytest.mark.parametrize("steps", [4, 12])
@pytest.mark.parametrize("sampler", [*PLAIN, None])
def test_other_noise_ends_closer(
    reference: Reference, others: Reference, sampler: DDIM | IPNDM | None, steps: int
) -> None:
    found = fit(CLOUD.denoise, reference, steps, sampler)
    assert len(found.grid) == steps + 1
    assert (found.grid[0], found.grid[-1]) == (inf, 0.0)
    assert isinstance(found.sampler, Fitted) if sampler is None else found.sampler == sampler
    plain = FittedWeights((AB(2, rho=1.0) if steps == 4 else AB()) if sampler is None else sampler, measured(steps))
    assert error(found, others) < (0.9 if sampler is None else 0.95) * error(plain, others)


def test_one_step_has_a_weight_and_no_levels_to_fit(reference: Reference) -> None:
    found = fit(CLOUD.denoise, reference, 1)
    assert found.grid == (inf, 0.0)
    assert error(found, reference) < error(FittedWeights(DDIM(), found.grid), reference)
    assert fit(CLOUD.denoise, reference, 1, DDIM()) == FittedWeights(DDIM(), (inf, 0.0))


def test_the_range_of_levels_is_preserved(reference: Reference) -> None:
    narrow = trace(CLOUD.denoise, noises(2), 14.6, 0.03)
    for sampler in (None, IPNDM(2)):
        grid = fit(CLOUD.denoise, narrow, 5, sampler).grid
        assert grid[0] == 14.6
        assert grid[-2] >= 0.03 * (1 - 1e-6)


def test_fitted_steps_end_at_the_reference(reference: Reference) -> None:
    """With one flow the least squares have a closed form: the share of the way that lies along the flow."""
    grid = (inf, 0.0)
    sampler = fit_step_weights(at_one_level(CLOUD.denoise), reference, grid, order=3)
    flow = reference.states[0] - CLOUD.denoise(reference.states[0], torch.full((64,), inf, dtype=torch.float64))
    target = reference.states[0] - reference.x0
    assert sampler.weights[0][0] == pytest.approx(float((flow * target).sum() / (flow * flow).sum()), abs=1e-4)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_ipndm_weights_are_ipndm(reference: Reference, order: int) -> None:
    grid, ask = measured(7), at_one_level(CLOUD.denoise)
    ends = [
        run(sampler, ask, start(reference.states[0], grid)) for sampler in (ipndm_weights(grid, order), IPNDM(order))
    ]
    assert torch.allclose(ends[0], ends[1], atol=1e-10)


@pytest.mark.parametrize("sampler", [IPNDM(3), ipndm_weights(measured(8), 3)])
def test_gauss_newton_improves_levels_and_weights(reference: Reference, sampler: IPNDM | Fitted) -> None:
    first = run_fit(FittedWeights(sampler, measured(8)), at_one_level(CLOUD.denoise), reference, [])
    found = gauss_newton(first, at_one_level(CLOUD.denoise), reference)
    assert found.error < 0.7 * first.error
    assert found.error == pytest.approx(error(found.fit, reference), rel=1e-6)
    assert all(a != b for a, b in zip(found.fit.grid[1:-1], first.fit.grid[1:-1], strict=True))


def test_a_run_reuses_known_states(reference: Reference) -> None:
    levels: list[float] = []

    def ask(x: Tensor, level: float) -> Tensor:
        levels.append(level)
        return at_one_level(CLOUD.denoise)(x, level)

    whole = FittedWeights(IPNDM(3), measured(6))
    known = run_fit(whole, ask, reference, []).visited
    other = FittedWeights(IPNDM(3), (*whole.grid[:4], *(0.9 * level for level in whole.grid[4:])))
    levels.clear()
    again = run_fit(other, ask, reference, known[:4])
    assert levels == list(other.grid[4:-1])
    assert torch.equal(again.end, run_fit(other, ask, reference, []).end)


@pytest.mark.parametrize("sampler", [IPNDM(3), None])
def test_calls_are_with_progress(reference: Reference, sampler: IPNDM | None) -> None:
    progress: list[float] = []
    most = expected_calls(5, searches=sampler is not None)
    fit(with_progress(CLOUD.denoise, most, progress.append), reference, 5, sampler)
    assert len(progress) <= most
    assert progress == sorted(progress)
    assert progress[-1] <= 1


def test_refuses(reference: Reference) -> None:
    with pytest.raises(InputError, match="one network call a step"):
        fit(CLOUD.denoise, reference, 4, Heun())
    with pytest.raises(NonFiniteError, match=r"sigma inf"):
        trace(lambda x, sigma: x * torch.nan, noises(0))
