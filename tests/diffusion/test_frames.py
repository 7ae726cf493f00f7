"""One mixture, wrapped as VP, VE, EDM and flow and asked for any kind, gives the same samples."""

import math

import pytest
import torch
from diffusion.mixture import MixtureNet, mixture
from torch import Tensor

from unnoise.diffusion.draw import START, draw
from unnoise.diffusion.model import Cond, Denoise, Model
from unnoise.diffusion.predict import KINDS, Kind
from unnoise.diffusion.process import EDM, VE, VP, Flow, Process, Table
from unnoise.diffusion.run import run
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.samplers.dpmpp import DPMpp2M
from unnoise.sampling.state import Sampler, start

GRID = (70.0, 30.0, 8.0, 3.0, 1.2, 0.5, 0.2, 0.05, 0.0)  # inside the clock of every process
SEEDS = tuple(range(6))
PROCESSES: list[Process] = [
    VP(),
    VP("cosine"),
    VP("scaled-linear", zero_snr=True),
    Table((0.9999, 0.9, 0.5, 0.1, 1e-4)),
    VE(0.02, 100.0),
    EDM(),
    EDM(0.5, 0.004, 160.0),
    Flow(),
    Flow(shift=3.0),
]


def samples(denoise: Denoise, sampler: Sampler[Tensor, Tensor], grid: tuple[float, ...]) -> Tensor:
    noise = draw(SEEDS, START, torch.empty(len(SEEDS), 3, 4, dtype=torch.float64))
    return run(sampler, denoise, start(noise, grid), draw, SEEDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_every_frame_and_kind_gives_the_same_samples(process: Process, kind: Kind) -> None:
    exact = mixture((3, 4))
    denoise = Model(MixtureNet((exact,), process, kind), process, kind).bind(Cond())
    for sampler in (DDIM(), DPMpp2M()):
        wanted = samples(exact.denoise, sampler, GRID)
        torch.testing.assert_close(samples(denoise, sampler, GRID), wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["x0", "v", "flow"])
@pytest.mark.parametrize("process", [Flow(), Flow(3.0), VP(zero_snr=True)], ids=repr)
def test_from_pure_noise_too(process: Process, kind: Kind) -> None:
    exact = mixture((3, 4))
    denoise = Model(MixtureNet((exact,), process, kind), process, kind).bind(Cond())
    grid = (math.inf, *GRID)
    torch.testing.assert_close(samples(denoise, DDIM(), grid), samples(exact.denoise, DDIM(), grid), rtol=0, atol=1e-7)


@pytest.mark.parametrize("process", [VP("cosine"), Flow()], ids=repr)
def test_samples_have_the_distribution_of_the_data(process: Process) -> None:
    exact, count = mixture((2,)), 4000
    denoise = Model(MixtureNet((exact,), process, "v"), process, "v").bind(Cond())
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
