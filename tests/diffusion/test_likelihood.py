"""The log density against exact ones: sharp and soft mixtures, a correlated Gaussian, and a correct error bar."""

import math
from functools import cache

import pytest
import torch
from diffusion.mixture import Mixture, mixture
from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.likelihood import PROBE, exact_likelihood, likelihood
from unnoise.diffusion.prediction import signal, spread
from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling import level

LOW = 1e-3


def density(cloud: Mixture, x0: Tensor, blur: float = LOW) -> Tensor:
    """Return the log density of x0 + blur*eps at x0: (B,), in closed form."""
    variance = cloud.stds**2 + blur**2  # (K,)
    off = (x0[:, None] - cloud.means).flatten(2).square().sum(2)
    dims = x0[0].numel()
    return (cloud.weights.log() - (dims * (2 * math.pi * variance).log() + off / variance) / 2).logsumexp(1)


def modes(dims: int, deviation: float, count: int = 4) -> Mixture:
    """Return modes of one deviation around means of unit variance."""
    means = torch.randn(count, dims, generator=torch.Generator().manual_seed(dims), dtype=torch.float64)
    means = (means - means.mean(0)) / (means - means.mean(0)).square().mean().sqrt()
    return Mixture(means, torch.full((count,), deviation).double(), torch.full((count,), 1 / count).double())


def samples(cloud: Mixture, count: int) -> Tensor:
    return cloud.sample(count, torch.Generator().manual_seed(3))


class Gaussian:
    """N(0, C) with C = Q diag(variances) Q', correlated in every pair, and its affine denoiser."""

    def __init__(self, dims: int) -> None:
        made = torch.Generator().manual_seed(dims)
        self.axes = torch.linalg.qr(torch.randn(dims, dims, generator=made, dtype=torch.float64))[0]
        self.variances = torch.logspace(-2, 0.4, dims, dtype=torch.float64)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        s, r = signal(sigma)[:, None], spread(sigma)[:, None]
        return (x @ self.axes * s * self.variances / (s**2 * self.variances + r**2)) @ self.axes.T

    def sample(self, count: int) -> Tensor:
        noise = torch.randn(count, len(self.axes), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        return noise * self.variances.sqrt() @ self.axes.T

    def density(self, x0: Tensor) -> Tensor:
        variances = self.variances + LOW**2
        return -((x0 @ self.axes).square() / variances + (2 * math.pi * variances).log()).sum(1) / 2


SPREAD = Mixture(modes(12, 1.0, 3).means, torch.tensor([0.05, 0.3, 1.0]).double(), torch.ones(3).double() / 3)


@pytest.mark.parametrize(
    ("cloud", "count", "steps"),
    [
        (mixture((2,)), 100, 24),
        (modes(1, 0.05, 2), 200, 48),
        (modes(2, 0.05), 200, 48),
        (modes(2, 0.4), 100, 24),
        (SPREAD, 40, 24),
        (modes(16, 0.05), 20, 24),
        (modes(64, 0.05), 4, 16),
        (modes(64, 0.5), 4, 16),
    ],
    ids=lambda given: f"{given.means.shape[1]}d-{given.stds.min():.2f}" if isinstance(given, Mixture) else str(given),
)
def test_density_of_a_mixture(cloud: Mixture, count: int, steps: int) -> None:
    x0 = samples(cloud, count)
    found = exact_likelihood(cloud.denoise, x0, steps=steps)
    assert (found.nats - density(cloud, x0)).abs().max() < 0.01 * found.dims
    assert found.error.tolist() == [0.0] * count


def test_density_of_a_gaussian_is_that_of_the_closed_form() -> None:
    gauss = Gaussian(6)
    x0 = gauss.sample(20)
    found = exact_likelihood(gauss.denoise, x0)
    torch.testing.assert_close(found.nats, gauss.density(x0), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.bits, -gauss.density(x0) / (6 * math.log(2)), rtol=0, atol=1e-3)


def test_error_falls_with_the_fourth_power_of_the_steps() -> None:
    gauss = Gaussian(4)
    x0 = gauss.sample(20)

    def off(steps: int) -> float:
        found = exact_likelihood(gauss.denoise, x0, steps=steps, sigma_min=LOW).nats
        return (found - gauss.density(x0)).square().mean().sqrt().item()

    assert abs(math.log2(off(40) / off(80)) - 4) < 0.3


def test_blur_is_sigma_min() -> None:
    """At 0.3 the density differs from that at 1e-3, and so does the result."""
    cloud = mixture((3,))
    x0 = samples(cloud, 20)
    found = exact_likelihood(cloud.denoise, x0, sigma_min=0.3).nats
    torch.testing.assert_close(found, density(cloud, x0, 0.3), rtol=0, atol=1e-3)
    assert (density(cloud, x0, 0.3) - density(cloud, x0)).abs().max() > 0.1


def test_finite_sigma_max_assumes_a_standard_normal_there() -> None:
    """Data N(0, I) are N(0, I) at every level, so the result is exact for any sigma_max."""
    x0 = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cloud = Mixture(torch.zeros(1, 3).double(), torch.ones(1).double(), torch.ones(1).double())
    for top in (0.5, 80.0, math.inf):
        found = exact_likelihood(cloud.denoise, x0, sigma_max=top).nats
        torch.testing.assert_close(found, density(cloud, x0), rtol=0, atol=1e-5)


@cache
def gauss_and_truth() -> tuple[Gaussian, Tensor, Tensor]:
    gauss = Gaussian(8)
    x0 = gauss.sample(200)
    return gauss, x0, gauss.density(x0)


@pytest.mark.parametrize("name", ["gaussian", "mixture"])
def test_error_bar_is_correct(name: str) -> None:
    if name == "gaussian":
        denoise, x0, truth = gauss_and_truth()[0].denoise, *gauss_and_truth()[1:]
    else:
        cloud = mixture((8,))
        denoise, x0 = cloud.denoise, samples(cloud, 200)
        truth = density(cloud, x0)
    found = likelihood(denoise, x0, range(200), 16, steps=24)
    z = (found.nats - truth) / found.error
    assert 0.5 < z.square().mean() < 2
    assert z.mean().abs() < 4 * math.sqrt(15 / 13 / 200)  # Student's t of 15 degrees has variance 15/13


def test_error_falls_as_the_root_of_the_probes() -> None:
    gauss, x0, truth = gauss_and_truth()
    few, many = (likelihood(gauss.denoise, x0, range(200), probes, steps=16) for probes in (4, 36))
    assert 2.5 < few.error.square().mean().sqrt() / many.error.square().mean().sqrt() < 3.6
    off = [(found.nats - truth).square().mean().sqrt() for found in (few, many)]
    assert 2.4 < off[0] / off[1] < 3.7


@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 4, 3), (2, 3, 2, 2)], ids=str)
def test_every_rank_and_every_sample_alone(shape: tuple[int, ...]) -> None:
    cloud, seeds = mixture(shape), (11, 7, 2**64 - 1)
    x0 = samples(cloud, 3)
    found = likelihood(cloud.denoise, x0, seeds, 3, steps=6)
    assert (found.nats.shape, found.error.shape, found.dims) == ((3,), (3,), math.prod(shape))
    for row, seed in enumerate(seeds):
        alone = likelihood(cloud.denoise, x0[row : row + 1], (seed,), 3, steps=6)
        torch.testing.assert_close(alone.nats[0], found.nats[row], rtol=0, atol=1e-9)
        torch.testing.assert_close(alone.error[0], found.error[row], rtol=0, atol=1e-9)
    flat = Mixture(cloud.means.flatten(1), cloud.stds, cloud.weights)
    row = likelihood(flat.denoise, x0.flatten(1), seeds, 3, steps=6)
    torch.testing.assert_close(row.nats, found.nats, rtol=0, atol=1e-9)


def test_seeds_decide_the_probes() -> None:
    gauss, x0, _ = gauss_and_truth()
    one, again, other = (likelihood(gauss.denoise, x0[:2], seeds, 2, steps=4) for seeds in ((5, 6), (5, 6), (5, 8)))
    assert torch.equal(one.nats, again.nats)
    assert other.nats[0] == one.nats[0]
    assert other.nats[1] != one.nats[1]
    assert PROBE not in (1, 2, 3, 4, 5)  # the streams of data and training


def test_calls_and_levels() -> None:
    """Four calls a step, from sigma_min to sigma_max, both included."""
    gauss, x0, _ = gauss_and_truth()
    called: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        assert (sigma.shape, sigma.dtype, x.dtype) == ((2,), torch.float32, torch.float32)
        called.append(sigma[0].item())
        return gauss.denoise(x.double(), sigma.double()).float()

    found = likelihood(denoise, x0[:2].float(), (1, 2), 2, steps=5)
    assert len(called) == 20
    assert (min(called), max(called)) == (pytest.approx(LOW), math.inf)
    assert called == sorted(called)
    assert found.nats.dtype == torch.float64


def test_parameters_get_no_gradient_and_no_graph_grows() -> None:
    weight = torch.nn.Parameter(torch.tensor(0.5))

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        assert x.is_leaf
        return weight * x

    with torch.no_grad():
        found = likelihood(denoise, torch.ones(2, 3), (1, 2), 2, steps=3)
    assert weight.grad is None
    assert not found.nats.requires_grad


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_nan_and_infinity_stop(wrong: float) -> None:
    gauss, x0, _ = gauss_and_truth()

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = gauss.denoise(x, sigma)
        if sigma[0] > 0.1:
            x0 = x0 + x.new_tensor([0.0, wrong, 0.0])[:, None]
        return x0

    with pytest.raises(NonFiniteError, match=r"step 1 of 5, sigma 0\.\d+, dtype torch.float64: .* rows \[1\]"):
        likelihood(broken, x0[:3], (1, 2, 3), 2, steps=5)

    def steep(x: Tensor, sigma: Tensor) -> Tensor:
        return (x - x.detach()).abs().sqrt() + gauss.denoise(x, sigma)

    with pytest.raises(NonFiniteError, match=r"step 0 of 5, sigma 0.001, .*derivative: .* rows \[0, 1, 2\]"):
        exact_likelihood(steep, x0[:3], steps=5)


def silent(x: Tensor, sigma: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 0.5


def fixed(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.ones_like(x, requires_grad=True) * 2


@pytest.mark.parametrize("denoise", [silent, fixed])
def test_a_result_without_gradient_is_refused(denoise: Denoise) -> None:
    with pytest.raises(InputError, match="denoise: its result has no gradient to x"):
        exact_likelihood(denoise, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": 1}, "probes 1: a whole number from 2 up"),
        ({"probes": 2.5}, "probes 2.5"),
        ({"seeds": (1,)}, "1 seeds: one for each of the 2 rows"),
        ({"steps": 0}, "steps 0"),
        ({"sigma_min": 0.0}, "sigma_min 0.0, sigma_max inf: 0 < sigma_min < sigma_max"),
        ({"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min 2.0, sigma_max 1.0"),
        ({"sigma_min": math.nan}, "sigma_min nan"),
        ({"x0": torch.ones(2)}, r"x0 \[2\]"),
        ({"x0": torch.ones(2, 0)}, r"x0 \[2, 0\]"),
        ({"x0": torch.ones(2, 3, dtype=torch.int64)}, "x0 .* of torch.int64"),
        ({"x0": torch.full((2, 3), math.nan)}, "finite numbers"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options: dict[str, object], message: str) -> None:
    given = {"x0": torch.ones(2, 3), "seeds": (1, 2)} | options
    with pytest.raises(InputError, match=message):
        likelihood(lambda x, sigma: 0.5 * x, **given)  # type: ignore[arg-type]


def test_levels_are_those_of_the_unit_frame() -> None:
    """A denoiser that only scales: one step is Runge-Kutta by hand, at the middle in u."""
    called: list[float] = []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        called.append(sigma[0].item())
        return 0.5 * x

    found = exact_likelihood(denoise, torch.zeros(1, 2).double(), steps=1, sigma_min=0.2, sigma_max=3.0).nats
    ends = [math.sqrt(math.atan(sigma)) for sigma in (0.2, 3.0)]
    middle = math.tan(((ends[0] + ends[1]) / 2) ** 2)
    assert called == pytest.approx([0.2, middle, middle, 3.0], rel=1e-6)

    def rate(sigma: float) -> float:
        return 2 * math.sqrt(math.atan(sigma)) * (2 * level.signal(sigma) - 1) / level.spread(sigma)

    whole = (ends[1] - ends[0]) / 6 * (rate(0.2) + 4 * rate(middle) + rate(3.0))
    assert found.item() == pytest.approx(whole - math.log(2 * math.pi) + 2 * math.log(level.signal(0.2)))
