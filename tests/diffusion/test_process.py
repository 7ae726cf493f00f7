"""Processes: sigma and time are inverse, the constants are those of the papers, wrong arguments raise InputError."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from unnoise.card import CLASSES
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.loss import sigma_uniform
from unnoise.diffusion.prediction import mix
from unnoise.diffusion.process import EDM, SCHEDULES, VE, VP, Angle, Flow, Process, Schedule, Table
from unnoise.errors import InputError
from unnoise.sampling.grid import flow_shift

ALL: list[Process] = [
    *(VP(schedule) for schedule in SCHEDULES),
    *(VP(schedule, zero_snr=True) for schedule in SCHEDULES),
    VP("linear", steps=10, beta_start=0.1, beta_end=0.9),
    Table((0.99, 0.5, 0.2, 0.01)),
    Table((0.9, 0.3, 0.0)),
    VE(),
    VE(0.02, 10.0),
    EDM(),
    Angle(),
    EDM(sigma_data=0.5, sigma_min=0.004, sigma_max=160),
    Flow(),
    Flow(shift=3.0),
]
each = pytest.mark.parametrize("process", ALL, ids=repr)


def inner(process: Process, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return levels from the lowest to the highest of a process, evenly spaced in time."""
    ends = process.time(torch.tensor([process.sigma_min, process.sigma_max], dtype=dtype))
    return process.sigma(torch.linspace(float(ends[0]), float(ends[1]), 97, dtype=dtype))


@each
def test_time_inverts_sigma(process: Process) -> None:
    sigma = inner(process)
    torch.testing.assert_close(process.sigma(process.time(sigma)), sigma, rtol=1e-9, atol=1e-12)
    assert all(before < after for before, after in pairwise(sigma.tolist()))
    assert sigma[0] == pytest.approx(process.sigma_min)
    assert sigma[-1] == pytest.approx(process.sigma_max)


@each
def test_float32_agrees_with_float64(process: Process) -> None:
    sigma = inner(process)[1:-1]
    torch.testing.assert_close(process.time(sigma.float()).double(), process.time(sigma), rtol=1e-5, atol=1e-5)


@each
def test_sigma_is_the_ratio_of_scales(process: Process) -> None:
    sigma = inner(process)
    a, b = process.scales(process.time(sigma))
    finite = sigma.isfinite()
    torch.testing.assert_close(b[finite], (sigma * a)[finite], rtol=1e-9, atol=0)
    assert a[~finite].tolist() == [0.0] * int((~finite).sum())
    assert b[~finite].tolist() == [1.0] * int((~finite).sum())


@each
def test_every_level_has_a_finite_time(process: Process) -> None:
    for dtype in (torch.float32, torch.float64):
        time = process.time(torch.tensor([0.0, 1e-6, 1e-3, 1.0, 1e3, 1e9, math.inf], dtype=dtype))
        assert time.isfinite().all()
        assert (time.diff() >= 0).all()


def test_known_levels_of_stable_diffusion() -> None:
    process = VP("scaled-linear")  # 0.0292 to 14.6146, terminal SNR 0.00468: what k-diffusion and ComfyUI use
    assert process.sigma_min == pytest.approx(0.029167, abs=1e-6)
    assert process.sigma_max == pytest.approx(14.61464, abs=1e-5)
    assert process.sigma_max**-2 == pytest.approx(0.00468, abs=1e-5)


def test_ddpm_table_is_the_product_of_its_betas() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(VP().table(), dtype=torch.float64), (1 - betas).cumprod(0))
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    table = torch.tensor(VP("scaled-linear").table(), dtype=torch.float64)
    torch.testing.assert_close(table, (1 - roots**2).cumprod(0))


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_snr(t: float) -> float:
    """Return log-SNR as in Hang et al. 2024: mu - b*sgn(1/2 - t)*ln(1 - 2|t - 1/2|), mu = 0, b = 1/2."""
    return math.inf if t == 0 else -0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * abs(t - 0.5))


CURVES: dict[Schedule, Callable[[float], float]] = {
    "cosine": lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2,
    "sigmoid": lambda t: (logistic(3) - logistic(6 * t - 3)) / (logistic(3) - logistic(-3)),
    "laplace": lambda t: logistic(log_snr(t)),
    "exponential": lambda t: math.exp(-12 * t),
}


@pytest.mark.parametrize("schedule", CURVES)
def test_a_table_follows_its_curve_until_betas_are_clipped(schedule: Schedule) -> None:
    table, curve = VP(schedule).table(), CURVES[schedule]
    for i in (0, 10, 498, 499, 500, 998):
        assert table[i] == pytest.approx(curve((i + 1) / 1000) / curve(0), rel=1e-9)
    assert table[999] / table[998] == pytest.approx(math.exp(-0.012) if schedule == "exponential" else 0.001)


def test_laplace_has_the_quantiles_of_its_distribution() -> None:
    snr = [alpha / (1 - alpha) for alpha in VP("laplace").table()[:-1]]
    shares = 1 - torch.arange(1, 1000, dtype=torch.float64) / 1000
    torch.testing.assert_close(torch.tensor(snr).double().log(), torch.distributions.Laplace(0.0, 0.5).icdf(shares))


def test_betas_of_the_sigmoid_ramp() -> None:
    betas = 1e-4 + (0.02 - 1e-4) * torch.linspace(-6, 6, 1000, dtype=torch.float64).sigmoid()
    torch.testing.assert_close(torch.tensor(VP("sigmoid-beta").table()).double(), (1 - betas).cumprod(0))
    steep = VP("sigmoid-beta", steps=5000, beta_start=1e-7, beta_end=2e-3)  # GeoDiff's own
    assert 1 - steep.table()[0] == pytest.approx(1e-7 + (2e-3 - 1e-7) * logistic(-6))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_falls_and_ends_at_zero_with_zero_snr(schedule: Schedule) -> None:
    for process in (VP(schedule), VP(schedule, steps=2), VP(schedule, zero_snr=True)):
        table = process.table()
        assert len(table) == process.steps
        assert table[0] < 1
        assert all(before > after for before, after in pairwise(table))
        assert process.sigma_max == (math.inf if process.zero_snr else pytest.approx((1 / table[-1] - 1) ** 0.5))


def test_the_log_linear_schedule_is_uniform_in_the_time_of_ve() -> None:
    levels = sigma_uniform(torch.linspace(0, 1, 200, dtype=torch.float64), VE(0.02, 10.0))
    torch.testing.assert_close(levels, torch.logspace(math.log10(0.02), 1, 200, dtype=torch.float64))


def test_training_with_a_shift_is_uniform_in_the_time_of_a_shifted_flow() -> None:
    u = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    t = Flow().time(sigma_uniform(u, Flow(3.0)))
    torch.testing.assert_close(t, 3 * u / (1 + 2 * u))
    mu = 0.8  # FLUX: t = e^mu / (e^mu + 1/u - 1)
    torch.testing.assert_close(
        Flow().time(sigma_uniform(u, Flow(math.exp(mu)))), math.exp(mu) / (math.exp(mu) + 1 / u - 1)
    )


@pytest.mark.parametrize("shift", [1.0, 3.0, math.exp(1.15)])
def test_a_shifted_grid_is_uniform_in_the_time_of_a_shifted_flow(shift: float) -> None:
    times = Flow(shift).time(torch.tensor(flow_shift(8, shift), dtype=torch.float64))
    torch.testing.assert_close(times, torch.linspace(1, 0, 9, dtype=torch.float64))


def test_zero_snr_ends_in_pure_noise_with_the_first_step_unchanged() -> None:
    plain, zero = VP("scaled-linear").table(), VP("scaled-linear", zero_snr=True).table()
    assert zero[0] == pytest.approx(plain[0], rel=1e-12)
    assert zero[-1] == 0
    first, last, middle = (math.sqrt(plain[i]) for i in (0, -1, 500))
    assert math.sqrt(zero[500]) == pytest.approx((middle - last) * first / (first - last), rel=1e-12)
    process = VP("scaled-linear", zero_snr=True)
    assert process.sigma(torch.tensor([999.0])).item() == math.inf
    assert process.time(torch.tensor([math.inf])).item() == 999


def test_between_two_steps_log_sigma_is_linear() -> None:
    process = VP("scaled-linear")
    low, middle, high = process.sigma(torch.tensor([400.0, 400.5, 401.0], dtype=torch.float64)).log().tolist()
    assert middle == pytest.approx((low + high) / 2, rel=1e-12)


def test_shift_multiplies_sigma() -> None:
    time = torch.tensor([0.0, 0.25, 0.5, 1.0])
    torch.testing.assert_close(Flow(3.0).sigma(time), 3 * Flow().sigma(time))
    t = Flow(3.0).scales(time)[1]  # SD3, eq. 23: t = shift*u / (1 + (shift - 1)*u)
    torch.testing.assert_close(t, 3 * time / (1 + 2 * time))


class Record(torch.nn.Module):
    """A net that records its inputs."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Conditioning) -> torch.Tensor:
        self.x, self.time = x, time
        return x


@each
def test_a_net_gets_x_in_its_native_frame(process: Process) -> None:
    made = torch.Generator().manual_seed(0)
    sigma = inner(process)
    sigma = sigma[sigma.isfinite()]
    x0, noise = (torch.randn(len(sigma), 3, generator=made, dtype=torch.float64) for _ in range(2))
    net = Record()
    Denoiser(net, process, "v").predict(mix(x0, noise, sigma), sigma, Conditioning())
    a, b = process.scales(process.time(sigma))
    torch.testing.assert_close(net.x, a[:, None] * x0 + b[:, None] * noise, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net.time, process.time(sigma))


def test_every_class_is_in_the_table_of_cards() -> None:
    assert {type(process).__name__ for process in ALL} == set(CLASSES["process"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flow(shift=0.0), "shift 0.0: above 0"),
        (lambda: VP("cosin"), "did you mean 'cosine'"),
        (lambda: VP("cosine", beta_end=0.02), "beta_end: the cosine schedule"),
        (lambda: VP("laplace", beta_start=0.1, beta_end=0.2), "beta_start, beta_end: the laplace schedule has no"),
        (lambda: VP("sigmoid-beta", beta_start=0.0), "beta_start 0.0: between 0 and 1"),
        (lambda: VP(beta_end=1.0), "beta_end 1.0"),
        (lambda: VP(steps=1), "steps 1"),
        (lambda: VE(sigma_min=3.0, sigma_max=1.0), "0 < sigma_min < sigma_max"),
        (lambda: EDM(sigma_data=math.inf), "sigma_data inf"),
        (lambda: Table((0.5, 0.6)), "strictly falling"),
        (lambda: Table((1.0, 0.6)), "below 1"),
    ],
)
def test_a_wrong_process_is_refused(make: Callable[[], Process], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_table_first_read_in_inference_mode_trains() -> None:
    process = VP("linear", steps=77)
    with torch.inference_mode():
        process.time(torch.ones(2))
    weight = torch.ones(2, requires_grad=True)
    (process.time(torch.ones(2)) * weight).sum().backward()
    assert weight.grad is not None


def test_edm_in_its_own_frame_has_its_own_levels_and_c_in() -> None:
    """With deviation = sigma_data, levels are EDM's, and the net gets c_in = 1/sqrt(sigma^2 + sigma_data^2) times x."""
    process, sigma = EDM(0.5, 0.002, 80.0, 0.5), torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64)
    time = process.time(sigma)
    torch.testing.assert_close(time, sigma.log() / 4)
    torch.testing.assert_close(process.sigma(time), sigma)
    a, b = process.scales(time)
    torch.testing.assert_close(b / a, sigma)
    torch.testing.assert_close(a, (sigma**2 + 0.25).rsqrt())
    with pytest.raises(InputError, match="deviation 0"):
        EDM(deviation=0.0)
