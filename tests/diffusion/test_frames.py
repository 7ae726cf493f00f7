"""One mixture, wrapped as VP, VE, EDM and flow with any kind of prediction, gives the same samples."""

import math
from collections.abc import Iterable

import pytest
import torch
from diffusion.mixture import MixtureNet, mixture
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.prediction import from_x0, mix, target, to_x0
from unnoise.diffusion.process import EDM, SCHEDULES, VE, VP, Angle, Flow, Process, Table
from unnoise.sampling.kinds import KINDS, Kind
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.samplers.dpmpp import DPMpp2M
from unnoise.sampling.state import Sampler, start

GRID = (70.0, 30.0, 8.0, 3.0, 1.2, 0.5, 0.3, 0.2, 0.05, 0.0)
SEEDS = tuple(range(6))
PROCESSES: list[Process] = [
    *(VP(schedule) for schedule in SCHEDULES),
    *(VP(schedule, zero_snr=True) for schedule in SCHEDULES),
    Table((0.9999, 0.9, 0.5, 0.1, 1e-4)),
    VE(0.02, 100.0),
    VE(0.02, 10.0),
    EDM(),
    Angle(),
    EDM(0.5, 0.004, 160.0),
    Flow(),
    Flow(shift=3.0),
]


def inside(levels: Iterable[float], process: Process) -> tuple[float, ...]:
    """Return the levels that are in the range of a process."""
    return tuple(level for level in levels if process.sigma_min <= level <= process.sigma_max)


def samples(denoise: Denoise, sampler: Sampler[Tensor, Tensor], grid: tuple[float, ...]) -> Tensor:
    noise = draw(SEEDS, START, torch.empty(len(SEEDS), 3, 4, dtype=torch.float64))
    return run(sampler, denoise, start(noise, grid), draw, SEEDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_every_frame_and_kind_gives_the_same_samples(process: Process, kind: Kind) -> None:
    exact = mixture((3, 4))
    denoise = Denoiser(MixtureNet((exact,), process, kind), process, kind).bind(Conditioning())
    grid = (*inside(GRID[:-1], process), 0.0)
    assert len(grid) > 6
    for sampler in (DDIM(), DPMpp2M()):
        expected = samples(exact.denoise, sampler, grid)
        torch.testing.assert_close(samples(denoise, sampler, grid), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["x0", "v", "flow"])
@pytest.mark.parametrize("process", [each for each in PROCESSES if each.sigma_max == math.inf], ids=repr)
def test_from_pure_noise_too(process: Process, kind: Kind) -> None:
    exact = mixture((3, 4))
    denoise = Denoiser(MixtureNet((exact,), process, kind), process, kind).bind(Conditioning())
    grid = (math.inf, *inside(GRID[:-1], process), 0.0)
    torch.testing.assert_close(samples(denoise, DDIM(), grid), samples(exact.denoise, DDIM(), grid), rtol=0, atol=1e-7)


class Oracle(torch.nn.Module):
    """A net that returns a fixed prediction, and records its inputs."""

    def __init__(self, prediction: Tensor) -> None:
        super().__init__()
        self.prediction = prediction

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        self.x, self.time = x, time
        return self.prediction


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_from_the_unit_frame_to_the_native_one_and_back(process: Process, kind: Kind) -> None:
    """At every level of a process, and at 0: the net's x is in the native frame, and the result is x0."""
    levels = inside((1e-3, 1.0, 1e3, math.inf), process)[: -1 if kind == "eps" and process.sigma_max == math.inf else 4]
    sigma = torch.tensor((0.0, process.sigma_min or 1e-9, *levels), dtype=torch.float64)
    made = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(len(sigma), 3, 4, generator=made, dtype=torch.float64) for _ in range(2))
    net = Oracle(target(kind, x0, noise, sigma))
    found = Denoiser(net, process, kind)(mix(x0, noise, sigma), sigma, Conditioning())
    torch.testing.assert_close(found, x0, rtol=0, atol=1e-10)
    a, b = (scale[:, None, None] for scale in process.scales(process.time(sigma)))
    torch.testing.assert_close(net.x[1:], (a * x0 + b * noise)[1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_becomes_another(kind: Kind, other: Kind) -> None:
    levels = (1e-3, 1.0, 1e3, math.inf)[: 3 if kind == "eps" else 4]
    sigma = torch.tensor(levels, dtype=torch.float64)
    made = torch.Generator().manual_seed(2)
    x0, noise = (torch.randn(len(sigma), 3, 4, generator=made, dtype=torch.float64) for _ in range(2))
    x = mix(x0, noise, sigma)
    found = from_x0(other, to_x0(kind, target(kind, x0, noise, sigma), x, sigma), x, sigma)
    torch.testing.assert_close(found, target(other, x0, noise, sigma), rtol=0, atol=1e-9)


@pytest.mark.parametrize("process", [VP("cosine"), Flow()], ids=repr)
def test_samples_have_the_distribution_of_the_data(process: Process) -> None:
    exact, count = mixture((2,)), 4000
    denoise = Denoiser(MixtureNet((exact,), process, "v"), process, "v").bind(Conditioning())
    noise = draw(tuple(range(count)), START, torch.empty(count, 2, dtype=torch.float64))
    grid = tuple(math.exp(math.log(90) + (math.log(0.01) - math.log(90)) * i / 60) for i in range(61))
    found = run(DPMpp2M(), denoise, start(noise, (*grid, 0.0)), draw, range(count))
    data = exact.sample(200_000, torch.Generator().manual_seed(3))
    error = (found.mean(0) - data.mean(0)) / (data.std(0) / count**0.5)
    assert error.abs().max() < 4
    assert (found.std(0) / data.std(0) - 1).abs().max() < 4 / (2 * count) ** 0.5 * 1.5
    for direction in torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, -0.6]], dtype=torch.float64):
        one, other = (found @ direction).sort().values, (data @ direction).sort().values
        steps = torch.searchsorted(other, one) / len(other) - torch.arange(count) / count
        assert steps.abs().max() < 1.95 / count**0.5  # Kolmogorov-Smirnov, one false alarm in 1000
