"""Fitted on some noise of a mixture, a few steps come nearer to the exact end of other noise."""

from math import inf

import pytest
import torch
from diffusion.mixture import Mixture, mixture
from torch import Tensor

from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling import DDIM, IPNDM, Heun
from unnoise.sampling.defaults import default, measured
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.state import run, start
from unnoise.tune.gauss_newton import FittedWeights, refine, walk
from unnoise.tune.grid import expected, fit
from unnoise.tune.reference import FINE, Teacher, apart, asking, counted, trace
from unnoise.tune.step_weights import classical, weighed

CLOUD: Mixture = mixture((8,))
PLAIN = (DDIM(), IPNDM(3))


def noises(seed: int, rows: int = 64) -> Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return trace(CLOUD.denoise, noises(0))


@pytest.fixture(scope="module")
def others() -> Teacher:
    return trace(CLOUD.denoise, noises(1))


def error(found: FittedWeights, teacher: Teacher) -> float:
    end = run(found.sampler, asking(CLOUD.denoise), start(teacher.states[0], found.grid))
    return float(apart(end, teacher.x0).mean())


def test_the_teacher_has_converged(teacher: Teacher) -> None:
    finer = run(IPNDM(4), asking(CLOUD.denoise), start(teacher.states[0], measured(4 * FINE)))
    assert apart(finer, teacher.x0).mean() < 1e-4


@pytest.mark.parametrize("level", [40.0, 3.0, 0.4, 0.01])
def test_the_teacher_knows_the_levels_between(teacher: Teacher, level: float) -> None:
    grid = [*(fine for fine in measured(4 * FINE) if fine > level * 1.001), level]
    exact = run(IPNDM(4), asking(CLOUD.denoise), start(teacher.states[0], grid))
    assert apart(teacher.at(level), exact).mean() < 1e-4
    assert apart(teacher.at(level * 1.1), exact).mean() > apart(teacher.at(level), exact).mean()


def test_the_teacher_is_where_it_was_at_its_own_levels(teacher: Teacher) -> None:
    for i in (0, 1, FINE // 2, FINE - 1, FINE):
        assert torch.allclose(teacher.at(teacher.levels[i]), teacher.states[i], atol=1e-12)


@pytest.mark.parametrize("steps", [4, 12])
@pytest.mark.parametrize("sampler", [*PLAIN, None])
def test_other_noise_comes_nearer(teacher: Teacher, others: Teacher, sampler: DDIM | IPNDM | None, steps: int) -> None:
    found = fit(CLOUD.denoise, teacher, steps, sampler)
    assert len(found.grid) == steps + 1
    assert (found.grid[0], found.grid[-1]) == (inf, 0.0)
    assert isinstance(found.sampler, Fitted) if sampler is None else found.sampler == sampler
    plain = FittedWeights(*default(steps, inf, 0.0)) if sampler is None else FittedWeights(sampler, measured(steps))
    assert error(found, others) < (0.9 if sampler is None else 0.95) * error(plain, others)


def test_one_step_is_weighed_and_has_no_levels_to_move(teacher: Teacher) -> None:
    found = fit(CLOUD.denoise, teacher, 1)
    assert found.grid == (inf, 0.0)
    assert error(found, teacher) < error(FittedWeights(DDIM(), found.grid), teacher)
    assert fit(CLOUD.denoise, teacher, 1, DDIM()) == FittedWeights(DDIM(), (inf, 0.0))


def test_a_range_is_kept(teacher: Teacher) -> None:
    narrow = trace(CLOUD.denoise, noises(2), 14.6, 0.03)
    for sampler in (None, IPNDM(2)):
        grid = fit(CLOUD.denoise, narrow, 5, sampler).grid
        assert grid[0] == 14.6
        assert grid[-2] >= 0.03 * (1 - 1e-6)


def test_weighed_steps_land_where_the_teacher_is(teacher: Teacher) -> None:
    """With one flow the least squares have a closed form: the share of the way that lies along the flow."""
    grid = (inf, 0.0)
    sampler = weighed(asking(CLOUD.denoise), teacher, grid, order=3)
    flow = teacher.states[0] - CLOUD.denoise(teacher.states[0], torch.full((64,), inf, dtype=torch.float64))
    wanted = teacher.states[0] - teacher.x0
    assert sampler.weights[0][0] == pytest.approx(float((flow * wanted).sum() / (flow * flow).sum()), abs=1e-4)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_usual_weights_make_it_ipndm(teacher: Teacher, order: int) -> None:
    grid, ask = measured(7), asking(CLOUD.denoise)
    ends = [run(sampler, ask, start(teacher.states[0], grid)) for sampler in (classical(grid, order), IPNDM(order))]
    assert torch.allclose(ends[0], ends[1], atol=1e-10)


@pytest.mark.parametrize("sampler", [IPNDM(3), classical(measured(8), 3)])
def test_refining_moves_levels_and_weights_nearer(teacher: Teacher, sampler: IPNDM | Fitted) -> None:
    begun = walk(FittedWeights(sampler, measured(8)), asking(CLOUD.denoise), teacher, [])
    found = refine(begun, asking(CLOUD.denoise), teacher)
    assert found.error < 0.7 * begun.error
    assert found.error == pytest.approx(error(found.fit, teacher), rel=1e-6)
    assert all(a != b for a, b in zip(found.fit.grid[1:-1], begun.fit.grid[1:-1], strict=True))


def test_a_run_goes_on_from_what_is_known(teacher: Teacher) -> None:
    asked: list[float] = []

    def ask(x: Tensor, level: float) -> Tensor:
        asked.append(level)
        return asking(CLOUD.denoise)(x, level)

    whole = FittedWeights(IPNDM(3), measured(6))
    known = walk(whole, ask, teacher, []).visited
    other = FittedWeights(IPNDM(3), (*whole.grid[:4], *(0.9 * level for level in whole.grid[4:])))
    asked.clear()
    again = walk(other, ask, teacher, known[:4])
    assert asked == list(other.grid[4:-1])
    assert torch.equal(again.end, walk(other, ask, teacher, []).end)


@pytest.mark.parametrize("sampler", [IPNDM(3), None])
def test_calls_are_counted(teacher: Teacher, sampler: IPNDM | None) -> None:
    made: list[float] = []
    most = expected(5, searches=sampler is not None)
    fit(counted(CLOUD.denoise, most, made.append), teacher, 5, sampler)
    assert len(made) <= most
    assert made == sorted(made)
    assert made[-1] <= 1


def test_refuses(teacher: Teacher) -> None:
    with pytest.raises(InputError, match="one network call a step"):
        fit(CLOUD.denoise, teacher, 4, Heun())
    with pytest.raises(NonFiniteError, match=r"sigma inf"):
        trace(lambda x, sigma: x * torch.nan, noises(0))
