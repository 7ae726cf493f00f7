"""Loss weights are those of the papers, equal for every kind of net, and precise at the ends of sigma."""

import math

import pytest
import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.loss import WEIGHTS, factor, loss, sigma_lognormal, sigma_uniform
from unnoise.diffusion.prediction import expand, from_x0, mix, target
from unnoise.diffusion.process import EDM, VE, VP, Flow
from unnoise.errors import InputError
from unnoise.sampling.kinds import KINDS, Kind

SIGMA = torch.tensor([1e-3, 0.1, 0.44, 0.45, 1.0, 7.0, 1e3], dtype=torch.float64)


class Guess(nn.Module):
    """Predict the same x0 in every kind: sin(x + sigma)."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        a, b = Flow().scales(time)
        unit, sigma = x / expand(torch.hypot(a, b), x), Flow().sigma(time)
        return from_x0(self.kind, (unit + expand(time, x)).sin(), unit, sigma)


def data(rows: int) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(rows, 3, 4, generator=made, dtype=torch.float64) for _ in range(2))
    return x0, noise


@pytest.mark.parametrize(
    ("weighting", "weight"),
    [
        ("x0", lambda s: 1.0),
        ("eps", lambda s: 1 / s**2),  # Ho et al. 2020, eq. 12 to 14
        ("v", lambda s: (s**2 + 1) / s**2),  # Salimans & Ho 2022: SNR + 1
        ("edm", lambda s: (s**2 + 1) / s**2),  # Karras et al. 2022, table 1, with sigma_data = 1
        ("flow", lambda s: ((s + 1) / s) ** 2),  # 1/t^2 with t = s / (1 + s)
        ("min-snr", lambda s: min(1 / s**2, 5.0)),  # Hang et al. 2023, section 3.4
    ],
)
def test_weights_of_x0_are_those_of_the_papers(weighting: str, weight: object) -> None:
    expected = torch.tensor([weight(s) for s in SIGMA.tolist()], dtype=torch.float64)  # type: ignore[operator]
    torch.testing.assert_close(factor(weighting, "x0", SIGMA) ** 2, expected, rtol=1e-12, atol=0)


def test_min_snr_is_as_published_for_eps_and_v() -> None:
    snr = SIGMA**-2
    torch.testing.assert_close(factor("min-snr", "eps", SIGMA) ** 2, snr.clamp(max=5) / snr)
    torch.testing.assert_close(factor("min-snr", "v", SIGMA) ** 2, snr.clamp(max=5) / (snr + 1))


@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_one_weighting_gives_one_loss_for_every_kind(weighting: str) -> None:
    x0, noise = data(len(SIGMA))
    losses = [loss(Denoiser(Guess(k), Flow(), k), x0, noise, SIGMA, Conditioning(), weighting) for k in KINDS]
    guess = (mix(x0, noise, SIGMA) + expand(SIGMA / (1 + SIGMA), x0)).sin()
    expected = factor(weighting, "x0", SIGMA) ** 2 * (guess - x0).square().mean((1, 2))
    for found in losses:
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unweighted_loss_is_the_error_of_that_kind(kind: Kind) -> None:
    x0, noise = data(len(SIGMA))
    model = Denoiser(Guess("v"), Flow(), "v")
    x = mix(x0, noise, SIGMA)
    error = from_x0(kind, model(x, SIGMA, Conditioning()), x, SIGMA) - target(kind, x0, noise, SIGMA)
    found = loss(model, x0, noise, SIGMA, Conditioning(), kind)
    torch.testing.assert_close(found, error.square().mean((1, 2)), rtol=1e-6, atol=0)


class Smooth(nn.Module):
    """Predict in the kind of the denoiser itself, as a trained net does."""

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        return (x + expand(time, x)).sin()


@pytest.mark.parametrize("kind", ["v", "flow"])
@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
def test_float32_is_precise_and_finite_at_every_level(weighting: str, kind: Kind) -> None:
    sigma = torch.tensor([0.0, 1e-6, 1e-3, 1.0, 1e3, 1e6, math.inf], dtype=torch.float64)
    x0, noise = data(len(sigma))
    model = Denoiser(Smooth(), Flow(), kind)
    exact = loss(model, x0, noise, sigma, Conditioning(), weighting)
    single = loss(model, x0.float(), noise.float(), sigma.float(), Conditioning(), weighting)
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


def test_losses_of_a_batch_are_those_of_its_samples() -> None:
    x0, noise = data(len(SIGMA))
    model = Denoiser(Guess("v"), Flow(), "v")
    together = loss(model, x0, noise, SIGMA, Conditioning(), "flow")
    for i in range(len(SIGMA)):
        row = slice(i, i + 1)
        torch.testing.assert_close(loss(model, x0[row], noise[row], SIGMA[row], Conditioning(), "flow"), together[row])


def test_half_precision_outputs_are_compared_in_float32() -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            return x.bfloat16()

    x0, noise = (each.float() for each in data(2))
    half = Denoiser(Half(), Flow(), "flow")
    assert loss(half, x0, noise, torch.ones(2), Conditioning(), "flow").dtype == torch.float32


def test_lognormal_levels_are_logit_normal_times() -> None:
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    logs = sigma_lognormal(u, -1.2, 1.2).log()
    assert logs.mean() == pytest.approx(-1.2, abs=1e-6)
    assert logs.std() == pytest.approx(1.2, abs=1e-3)
    torch.testing.assert_close(torch.logit(Flow().time(logs.exp())), logs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_at_the_ends_of_u_are_inside(dtype: torch.dtype) -> None:
    edge = torch.finfo(dtype).eps
    sigma = sigma_lognormal(torch.tensor([0.0, edge, 1 - edge, 1.0], dtype=dtype), 0.0, 1.0)
    assert (sigma > 0).all()
    assert sigma.isfinite().all()
    assert (sigma.diff() > 0).all()  # nothing but the ends is moved


def test_uniform_levels_are_uniform_in_time() -> None:
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(Flow().time(sigma_uniform(u, Flow())), u)
    torch.testing.assert_close(VP().time(sigma_uniform(u, VP())), 999 * u, rtol=1e-9, atol=1e-9)
    for process in (VE(), EDM()):
        logs = sigma_uniform(u, process).log()
        torch.testing.assert_close(logs.diff(), logs.diff()[:1].expand(10))


def test_wrong_arguments_are_refused() -> None:
    x0, noise = data(2)
    model = Denoiser(Guess("v"), Flow(), "v")
    with pytest.raises(InputError, match="'minsnr': did you mean 'min-snr'"):
        loss(model, x0, noise, SIGMA[:2], Conditioning(), "minsnr")
    with pytest.raises(InputError, match="the shape of x0"):
        loss(model, x0, noise[:1], SIGMA[:2], Conditioning(), "v")


class Scaled(nn.Module):
    """Have one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        return x * self.gain + expand(time, x)


@pytest.mark.parametrize("kind", ["v", "flow"])
def test_gradients_are_finite_from_clean_to_pure_noise(kind: Kind) -> None:
    sigma = torch.tensor([0.0, 1e-6, 1.0, 1e6, math.inf])
    x0, noise = (each.float() for each in data(5))
    for process in (Flow(), VP("scaled-linear", zero_snr=True), EDM()):
        net = Scaled()
        loss(Denoiser(net, process, kind), x0, noise, sigma, Conditioning(), "flow").mean().backward()
        assert net.gain.grad is not None
        assert net.gain.grad.isfinite()
