"""Clocks: sigma and time invert each other, the constants are those of the papers, faults are named."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from unnoise.diffusion.model import Cond, Model
from unnoise.diffusion.predict import mix
from unnoise.diffusion.process import EDM, VE, VP, Flow, Process, Table
from unnoise.errors import Refusal
from unnoise.files.card import CLASSES

ALL: list[Process] = [
    VP(),
    VP("scaled-linear"),
    VP("cosine"),
    VP("scaled-linear", zero_snr=True),
    VP("linear", steps=10, beta_start=0.1, beta_end=0.9),
    Table((0.99, 0.5, 0.2, 0.01)),
    Table((0.9, 0.3, 0.0)),
    VE(),
    EDM(),
    EDM(sigma_data=0.5, sigma_min=0.004, sigma_max=160),
    Flow(),
    Flow(shift=3.0),
]
each = pytest.mark.parametrize("process", ALL, ids=repr)


def inner(process: Process, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Give levels from the lowest to the highest of a clock, spaced evenly in time."""
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


def test_cosine_table_follows_the_curve_until_betas_are_clipped() -> None:
    table = VP("cosine").table()
    for i in (0, 10, 500, 998):
        curve = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (i + 1, 0)]
        assert table[i] == pytest.approx(curve[0] / curve[1], rel=1e-9)
    assert table[999] / table[998] == pytest.approx(0.001)


def test_zero_snr_ends_in_pure_noise_and_keeps_its_first_step() -> None:
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
    """Keep what a net is given."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, cond: Cond) -> torch.Tensor:
        self.x, self.time = x, time
        return x


@each
def test_a_net_sees_its_native_frame(process: Process) -> None:
    made = torch.Generator().manual_seed(0)
    sigma = inner(process)
    sigma = sigma[sigma.isfinite()]
    x0, noise = (torch.randn(len(sigma), 3, generator=made, dtype=torch.float64) for _ in range(2))
    net = Record()
    Model(net, process, "v").predict(mix(x0, noise, sigma), sigma, Cond())
    a, b = process.scales(process.time(sigma))
    torch.testing.assert_close(net.x, a[:, None] * x0 + b[:, None] * noise, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net.time, process.time(sigma))


def test_every_class_may_stand_on_a_card() -> None:
    assert {type(process).__name__ for process in ALL} == set(CLASSES["process"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Flow(shift=0.0), "shift 0.0: above 0"),
        (lambda: VP("cosin"), "did you mean 'cosine'"),
        (lambda: VP("cosine", beta_end=0.02), "beta_end: the cosine schedule"),
        (lambda: VP(beta_end=1.0), "beta_end 1.0"),
        (lambda: VP(steps=1), "steps 1"),
        (lambda: VE(sigma_min=3.0, sigma_max=1.0), "0 < sigma_min < sigma_max"),
        (lambda: EDM(sigma_data=math.inf), "sigma_data inf"),
        (lambda: Table((0.5, 0.6)), "strictly falling"),
        (lambda: Table((1.0, 0.6)), "below 1"),
    ],
)
def test_a_wrong_process_is_refused(make: Callable[[], Process], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        make()


def test_a_table_first_read_in_inference_mode_trains() -> None:
    process = VP("linear", steps=77)
    with torch.inference_mode():
        process.time(torch.ones(2))
    weight = torch.ones(2, requires_grad=True)
    (process.time(torch.ones(2)) * weight).sum().backward()
    assert weight.grad is not None
