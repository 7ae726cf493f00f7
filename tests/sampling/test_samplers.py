"""The claims of the samplers, measured against exact solutions."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from sampling import checks
from sampling.checks import Grid, crowded, even, mild, shifted, slope, starts_at_inf, weak_slope, whole, widest
from sampling.oracle import Array, Mixture, mixture, scaled
from unnoise.errors import InputError
from unnoise.sampling import (
    AB,
    ABM,
    DDIM,
    DEIS,
    DPM2,
    IPNDM,
    LMS,
    Ancestral,
    Consistency,
    DPMpp2M,
    DPMpp2S,
    DPMpp2SSDE,
    DPMpp3M,
    DPMpp3MSDE,
    DPMppSDE,
    EDMHeun,
    GradientEstimation,
    Heun,
    RePaint,
    Restart,
    Sampler,
    SASolver,
    State,
    UniPC,
    calls,
    run,
    signal,
    spread,
    start,
)
from unnoise.sampling.grid import flow_shift

DETERMINISTIC: list[Sampler[Any, Any]] = [
    DDIM(),
    Heun(),
    DPMpp2M(),
    DPMpp3M(),
    DPMpp2S(),
    DPM2(),
    EDMHeun(churn=0.0),
    GradientEstimation(),
    *(IPNDM(order) for order in (1, 2, 3, 4)),
    *(AB(order, rho) for order, rho in ((1, 4.0), (2, 4.0), (3, 2.0), (4, 1.0))),
    *(AB(order, 2.0, "eps") for order in (2, 3)),
    *(ABM(predictor) for predictor in (1, 2, 3, 4)),
    ABM(2, last=1, share=0.75),
    *(LMS(order) for order in (1, 2, 3, 4)),
    *(DEIS(order) for order in (1, 2, 3)),
    *(UniPC(predictor) for predictor in (1, 2, 3)),
    *(SASolver(predictor, corrector, tau=0.0) for predictor, corrector in ((1, 2), (2, 3), (3, 0))),
]
STOCHASTIC: list[Sampler[Any, Any]] = [
    DDIM(eta=0.5),
    Ancestral(),
    DPMppSDE(),
    DPMpp2SSDE(),
    EDMHeun(churn=20.0, inflate=1.0),
    SASolver(1, 0, tau=0.5),
    DPMpp3MSDE(),
    SASolver(),
]
RISING: list[Sampler[Any, Any]] = [Restart(), Restart(IPNDM(3)), RePaint()]
DENOISERS: list[Sampler[Any, Any]] = [*DETERMINISTIC, *STOCHASTIC, *RISING]
ALL: list[Sampler[Any, Any]] = [*DENOISERS, Consistency()]


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_a_constant_is_solved_exactly(sampler: Sampler[Any, Any]) -> None:
    checks.constant_is_exact(sampler)


@pytest.mark.parametrize("sampler", [sampler for sampler in ALL if not isinstance(sampler, AB | ABM)], ids=repr)
def test_a_run_to_0_returns_the_last_prediction(sampler: Sampler[Any, Any]) -> None:
    checks.ends_on_prediction(sampler)


def test_the_last_step_of_ab_is_exact_for_a_constant_coordinate() -> None:
    """A coordinate that is the same in every prediction is returned exactly, though the last step extrapolates."""
    known = np.array([0.7, -1.3])

    def denoise(x: Array, level: float) -> Array:
        return np.concatenate([checks.TWO_MODES.denoise(x[:, :2], level), np.tile(known, (len(x), 1))], 1)

    for sampler in (AB(), AB(4, rho=1.0), ABM(), ABM(4)):
        noise = np.random.default_rng(6).normal(size=(8, 4))
        x = run(sampler, denoise, start(noise, whole(9)))
        assert np.abs(x[:, 2:] - known).max() < 1e-12


@pytest.mark.parametrize("sampler", DENOISERS, ids=repr)
def test_gaussian_data_keep_mean_and_variance(sampler: Sampler[Any, Any]) -> None:
    checks.gaussian_is_kept(sampler)


@pytest.mark.parametrize(
    ("sampler", "warm", "grids"),
    [
        (DDIM(), 0, (whole, crowded)),
        (Heun(), 0, (whole, crowded)),
        (DPMpp2M(), 0, (shifted, crowded)),
        (DPMpp3M(), 2, (shifted, crowded)),
        (DPMpp2S(), 0, (shifted, crowded)),
        (DPM2(), 0, (shifted, crowded)),
        (EDMHeun(churn=0.0), 0, (shifted, crowded)),
        (GradientEstimation(), 0, (shifted, crowded)),
        *((LMS(order), order - 1, (crowded, mild)) for order in (1, 2, 3, 4)),
        *((DEIS(order), order - 1, (crowded, mild)) for order in (1, 2, 3)),
        *((UniPC(predictor), predictor, (shifted, crowded)) for predictor in (1, 2, 3)),
        (SASolver(1, 2, tau=0.0), 1, (shifted, crowded)),
        (SASolver(2, 3, tau=0.0), 2, (shifted, crowded)),
        (SASolver(2, 0, tau=0.0), 1, (shifted, crowded)),
        (SASolver(3, 0, tau=0.0), 2, (shifted, crowded)),
        *((AB(order), order - 1, (crowded, mild)) for order in (1, 2, 3, 4)),
        (AB(4, rho=1.0), 3, (whole, crowded)),
        *((AB(order, 2.0, "eps"), order - 1, (crowded, mild)) for order in (1, 2, 3)),
        *((ABM(predictor), 0, (shifted, crowded)) for predictor in (1, 2)),
        *((ABM(predictor), 0, (shifted, whole)) for predictor in (3, 4)),
        (IPNDM(1), 0, (whole, crowded)),
        (IPNDM(2), 0, (whole, crowded)),
        (IPNDM(3), 2, (whole, crowded)),
        (IPNDM(4), 3, (whole, crowded)),
    ],
    ids=repr,
)
def test_order_is_as_claimed(sampler: Sampler[Any, Any], warm: int, grids: tuple[Grid, Grid]) -> None:
    for grid in grids:
        assert abs(slope(sampler, grid, warm) - sampler.order) < 0.15


@pytest.mark.parametrize(
    ("sampler", "grid"),
    [(DPMpp3M(), even), (IPNDM(3), shifted), (IPNDM(4), shifted), (IPNDM(4), whole)],
    ids=repr,
)
def test_cold_start_leaves_order_2(sampler: Sampler[Any, Any], grid: Grid) -> None:
    assert abs(slope(sampler, grid) - 2) < 0.15


@pytest.mark.parametrize("sampler", [DPMpp2M(), DPMppSDE()], ids=repr)
@pytest.mark.parametrize("deviation", [0.3, 1.7])
def test_order_in_lambda_is_about_2_at_infinite_ends(sampler: Sampler[Any, Any], deviation: float) -> None:
    assert 1.5 < weak_slope(sampler, whole, deviation, steps=512) < 2.2


@pytest.mark.parametrize("sampler", [*STOCHASTIC[:6], SASolver(2, 0, tau=0.5)], ids=repr)
@pytest.mark.parametrize("grid", [shifted, crowded])
@pytest.mark.parametrize("deviation", [0.3, 1.7])
def test_weak_order_is_as_claimed(sampler: Sampler[Any, Any], grid: Grid, deviation: float) -> None:
    assert abs(weak_slope(sampler, grid, deviation) - sampler.order) < 0.15


@pytest.mark.parametrize("sampler", STOCHASTIC[6:], ids=repr)
@pytest.mark.parametrize("deviation", [0.3, 1.7])
def test_weak_order_of_long_memories_needs_many_steps(sampler: Sampler[Any, Any], deviation: float) -> None:
    assert abs(weak_slope(sampler, shifted, deviation, steps=512) - sampler.order) < 0.2


RENEWING = [Ancestral(), DPMppSDE(), DPMpp2SSDE(), DPMpp3MSDE(), SASolver(), RePaint(), Consistency()]
LINE = scaled(Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([[0.25], [0.4]])))


@pytest.mark.parametrize("sampler", DENOISERS, ids=repr)
def test_pure_noise_becomes_the_mixture(sampler: Sampler[Any, Any]) -> None:
    """Start from 1001 quantiles of N(0, 1): only the noise of stochastic samplers is random."""
    quantiles = [NormalDist().inv_cdf((i + 0.5) / 1001) for i in range(1001)]
    rng = np.random.default_rng(1)
    x = run(
        sampler,
        LINE.denoise,
        start(np.array(quantiles)[:, None], widest(sampler, 40)),
        lambda step, like: rng.normal(size=like.shape),
    )
    error = 4 / math.sqrt(len(x)) if sampler.stochastic else 0.0  # four standard errors
    first_order = 0.06 if sampler.order == 1 else 0.01
    assert abs(x.mean()) < error + first_order
    assert abs(x.var() - 1) < error * math.sqrt(2) + first_order
    left = NormalDist(LINE.means[0, 0], LINE.deviations[0, 0]).cdf(0) * 0.3
    left += NormalDist(LINE.means[1, 0], LINE.deviations[1, 0]).cdf(0) * 0.7
    assert abs((x < 0).mean() - left) < error / 2 + first_order


def test_consistency_is_exact_for_a_consistency_function() -> None:
    checks.consistency_function_is_exact(Consistency())


@pytest.mark.parametrize("sampler", RENEWING, ids=repr)
def test_pure_noise_is_forgotten(sampler: Sampler[Any, Any]) -> None:
    checks.pure_noise_is_forgotten(sampler)


@pytest.mark.parametrize(("here", "there"), [(math.inf, 2.0), (3.0, 1.0), (0.5, 0.02)])
def test_ancestral_step_is_the_posterior_of_ddpm(here: float, there: float) -> None:
    """Source: Ho et al. 2020, eq. 7, with a = alpha-bar of the two levels."""
    x, x0, noise = 0.4, -1.1, 0.9
    a, before = signal(here) ** 2, signal(there) ** 2
    beta = 1 - a / before
    mean = math.sqrt(before) * beta / (1 - a) * x0 + math.sqrt(1 - beta) * (1 - before) / (1 - a) * x
    deviation = math.sqrt((1 - before) / (1 - a) * beta)
    step = Ancestral().advance(start(x, (here, there)), x0, noise)
    assert math.isclose(step.x, mean + deviation * noise, rel_tol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_step_is_as_published(eta: float) -> None:
    """Source: Song et al. 2021a, eq. 12 and 16, from sigma 3 to 1."""
    x, x0, noise = 0.4, -1.1, 0.9
    a, before = signal(3.0) ** 2, signal(1.0) ** 2
    deviation = eta * math.sqrt((1 - before) / (1 - a)) * math.sqrt(1 - a / before)
    eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
    published = math.sqrt(before) * x0 + math.sqrt(1 - before - deviation**2) * eps + deviation * noise
    step = DDIM(eta).advance(start(x, (3.0, 1.0)), x0, noise if eta else None)
    assert math.isclose(step.x, published, rel_tol=1e-12)


def test_ancestral_step_is_euler_ancestral() -> None:
    """Source: crowsonkb/k-diffusion, sampling.py, get_ancestral_step and sample_euler_ancestral, in its own frame."""
    x, x0, noise, here, there = 0.4, -1.1, 0.9, 3.0, 1.0
    up = math.sqrt(there**2 * (here**2 - there**2) / here**2)
    down = math.sqrt(there**2 - up**2)
    wide = x / signal(here)
    wide = wide + (wide - x0) / here * (down - here) + noise * up
    step = Ancestral().advance(start(x, (here, there)), x0, noise)
    assert math.isclose(step.x, wide * signal(there), rel_tol=1e-12)


def test_without_noise_ancestral_is_ddim() -> None:
    """At eta = 0 both are the same to the bit, and small eta approaches this limit."""
    points, grid = checks.POINTS, whole(7)
    flow = run(DDIM(), checks.TWO_MODES.denoise, start(points, grid))
    assert np.array_equal(run(DDIM(eta=0.0), checks.TWO_MODES.denoise, start(points, grid), fresh), flow)
    near = run(DDIM(eta=1e-9), checks.TWO_MODES.denoise, start(points, grid), fresh)
    assert np.allclose(near, flow, atol=1e-7)


def test_2m_step_is_as_published() -> None:
    """Source: Lu et al. 2022b, algorithm 2, with r = h1/h, in its alpha and sigma."""
    state = State((4.0, 2.0, 0.7), 1, 0.4, 2.0, memory=(-0.6,))
    h1, h = math.log(4.0 / 2.0), math.log(2.0 / 0.7)
    guess = (1 + h / (2 * h1)) * -1.1 - h / (2 * h1) * -0.6
    published = spread(0.7) / spread(2.0) * 0.4 - signal(0.7) * math.expm1(-h) * guess
    assert math.isclose(DPMpp2M().advance(state, -1.1).x, published, rel_tol=1e-12)


@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=repr)
def test_a_rising_grid_runs_backwards(sampler: Sampler[Any, Any]) -> None:
    """From data to noise, at inf where the sampler allows it, and back: the run ends where it began."""
    down = flow_shift(101, 2.5, 2.0, math.inf if starts_at_inf(sampler) else 20.0, sigma_min=0.05)[:-1]
    x = run(sampler, checks.TWO_MODES.denoise, start(checks.POINTS, (*reversed(down), *down[1:])))
    assert np.abs(x - checks.POINTS).max() < (0.1 if sampler.order == 1 else 1e-3)


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_calls_are_counted(sampler: Sampler[Any, Any]) -> None:
    for grid in (widest(sampler, 5), shifted(5), (2.0, 0.0)):
        called: list[float] = []

        def denoise(x: Array, level: float, called: list[float] = called) -> Array:
            called.append(level)
            return 0.5 * x

        run(sampler, denoise, start(checks.POINTS, grid), fresh)
        assert len(called) == calls(sampler, grid)


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_noise_is_required_or_refused(sampler: Sampler[Any, Any]) -> None:
    state = start(0.3, (3.0, 1.0, 0.0))
    if sampler.stochastic:
        with pytest.raises(InputError, match="noise is missing"):
            sampler.advance(state, 0.1)
        with pytest.raises(InputError, match="noise is missing"):
            run(sampler, lambda x, level: x, state)
    else:
        with pytest.raises(InputError, match="noise is given"):
            sampler.advance(state, 0.1, 0.7)


@pytest.mark.parametrize("sampler", [*STOCHASTIC], ids=repr)
def test_stochastic_step_does_not_rise(sampler: Sampler[Any, Any]) -> None:
    with pytest.raises(InputError, match="only descends"):
        sampler.advance(start(0.3, (1.0, 2.0)), 0.1, 0.7)


@pytest.mark.parametrize(
    ("make", "field", "values"),
    [
        (DDIM, "eta", (-0.1, 1.1, math.nan)),
        (IPNDM, "order", (0, 5, 2.5)),
        (AB, "order", (0, 5)),
        (AB, "rho", (0.9, 17.0, math.nan)),
        (AB, "of", ("x0", "v")),
        (ABM, "predictor", (0, 5)),
        (ABM, "last", (0, 5)),
        (ABM, "share", (-0.1, 1.1, math.nan)),
        (LMS, "order", (0, 5, True)),
        (DEIS, "order", (0, 4, "3")),
        (UniPC, "predictor", (0, 4)),
        (SASolver, "predictor", (0, 5)),
        (SASolver, "corrector", (-1, 5)),
        (SASolver, "tau", (-0.1, 2.1, math.nan)),
        (EDMHeun, "churn", (-1.0, math.inf, math.nan)),
        (EDMHeun, "between", ((2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0))),
        (EDMHeun, "inflate", (0.5, 2.0, math.nan)),
        (GradientEstimation, "gamma", (0.9, 3.1, math.nan)),
        (Restart, "descent", (Ancestral(),)),
    ],
)
def test_a_parameter_out_of_range_is_refused(make: Any, field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=f"^{field} "):
            make(**{field: value})


@pytest.mark.parametrize(
    ("sampler", "claims"),
    [
        (DDIM(), (1, 1, False)),
        (Ancestral(), (1, 1, True)),
        (Heun(), (2, 2, False)),
        (EDMHeun(), (2, 2, True)),
        (DPM2(), (2, 2, False)),
        (DPMpp2S(), (2, 2, False)),
        (DPMpp2SSDE(), (2, 2, True)),
        (DPMpp2M(), (2, 1, False)),
        (DPMppSDE(), (2, 1, True)),
        (DPMpp3M(), (3, 1, False)),
        (DPMpp3MSDE(), (2, 1, True)),
        (IPNDM(), (4, 1, False)),
        (AB(), (2, 1, False)),
        (ABM(), (3, 1, False)),
        (ABM(2), (3, 1, False)),
        (LMS(), (4, 1, False)),
        (DEIS(), (3, 1, False)),
        (UniPC(), (3, 1, False)),
        (SASolver(), (2, 1, True)),
        (SASolver(tau=0.0), (3, 1, False)),
        (GradientEstimation(), (1, 1, False)),
        (Restart(), (2, 2, True)),
        (RePaint(), (1, 1, True)),
        (Consistency(), (0, 1, True)),
    ],
    ids=repr,
)
def test_order_queries_and_stochastic(sampler: Sampler[Any, Any], claims: tuple[int, int, bool]) -> None:
    assert (sampler.order, sampler.queries, sampler.stochastic) == claims


def test_the_ends_of_a_range_are_allowed() -> None:
    for make, values in (
        (DDIM, (0, 1)),
        (IPNDM, (1, 4)),
        (AB, (1, 4)),
        (ABM, (1, 4)),
        (LMS, (1, 4)),
        (DEIS, (1, 3)),
        (UniPC, (1, 3)),
        (GradientEstimation, (1.0, 3.0)),
    ):
        assert all(make(value) for value in values)
    for ends in ((1, 0, 0.0), (4, 4, 2.0)):
        assert SASolver(*ends)
    for ends in ((0.0, (0.0, math.inf), 0.9), (1e3, (1e-9, 1.0), 1.1)):
        assert EDMHeun(*ends)
    for rho in (1.0, 16.0):
        assert AB(rho=rho)


@pytest.mark.parametrize("sampler", [LMS(), EDMHeun(), EDMHeun(churn=0.0), AB(of="eps")], ids=repr)
def test_samplers_along_sigma_do_not_start_at_inf(sampler: Sampler[Any, Any]) -> None:
    for grid in ((math.inf, 1.0, 0.0), (1.0, math.inf)):
        with pytest.raises(InputError, match="from a finite level on; Heun and IPNDM start at inf"):
            sampler.advance(start(0.3, grid), 0.1, 0.7 if sampler.stochastic else None)


@pytest.mark.parametrize("sampler", ALL, ids=repr)
def test_plain_floats_and_arrays_agree(sampler: Sampler[Any, Any]) -> None:
    """One number as a float, and as an array of one: the same to the last bit, and still a float."""
    grid, noise = widest(sampler, 6), [0.3, -1.2, 0.8, 0.1, -0.4, 0.9, 1.1, -0.2, 0.5, 0.7, -0.6, 0.2]
    one = run(sampler, lambda x, level: 0.7 * signal(level) * x, start(1.4, grid), lambda step, like: noise[step])
    many = run(
        sampler,
        lambda x, level: 0.7 * signal(level) * x,
        start(np.array([1.4]), grid),
        lambda step, like: np.array([noise[step]]),
    )
    assert type(one) is float
    assert one == many[0]


@pytest.mark.parametrize("sampler", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 4, 3), (2, 3, 4, 2)], ids=str)
def test_every_rank_and_every_sample_alone(sampler: Sampler[Any, Any], shape: tuple[int, ...]) -> None:
    """Three samples of any rank in one batch are, to the bit, the same samples alone, and as one flat row."""
    cloud = mixture(shape)
    flat = Mixture(cloud.weights, cloud.means.reshape(3, -1), cloud.deviations.reshape(3, -1))
    noise = np.random.default_rng(4).normal(size=(9, 3, *shape))
    grid = widest(sampler, 4)
    batch = run(sampler, cloud.denoise, start(noise[-1], grid), lambda step, like: noise[step])
    assert batch.shape == (3, *shape)
    for k in range(3):
        alone = run(
            sampler, cloud.denoise, start(noise[-1, k : k + 1], grid), lambda step, like, k=k: noise[step, k : k + 1]
        )
        assert np.array_equal(alone[0], batch[k])
    row = run(
        sampler, flat.denoise, start(noise[-1].reshape(3, -1), grid), lambda step, like: noise[step].reshape(3, -1)
    )
    assert np.array_equal(row.reshape(batch.shape), batch)


def test_float32_stays_float32() -> None:
    for sampler in ALL:
        x = run(
            sampler,
            lambda x, level: x * np.float32(0.5),
            start(np.ones((2, 3), dtype=np.float32), widest(sampler, 4)),
            lambda step, like: np.ones_like(like),
        )
        assert x.dtype == np.float32


def test_levels_never_divide_by_signal() -> None:
    """Every level from 1e-300 to 1e15 works, and so do inf and 0; ABM is for levels nearer to each other."""
    for sampler in ALL:
        levels = (1e4, 1e2, 1.0, 1e-2, 1e-4) if isinstance(sampler, ABM) else (1e15, 1e10, 1.0, 1e-100, 1e-300)
        grid = (*((math.inf,) if starts_at_inf(sampler) else ()), *levels, 0.0)
        x = run(sampler, lambda x, level: 0.25, start(0.3, grid), lambda step, like: 0.1)
        assert math.isclose(x, 0.25, rel_tol=1e-8 if isinstance(sampler, ABM) else 1e-14)


def fresh(step: int, like: Array) -> Array:
    """Draw noise that depends on the step alone."""
    return np.random.default_rng(step).normal(size=like.shape)
