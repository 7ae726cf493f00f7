"""Guided samples with a closed form: the guided flow of Gaussians, and CFG++ step by step."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from diffusion.gaussians import DATA, NULL, STD, gaussian, labels, means, model
from diffusion.mixture import MixtureNet, mixture
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise, Denoiser
from unnoise.diffusion.guidance import autoguide, cfg, cfgpp
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.process import EDM, VE, VP, Flow, Process
from unnoise.sampling.grid import flow_shift
from unnoise.sampling.level import signal, spread
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.state import Sampler, start

SEEDS = (0, 1, 2, 3)
W = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
each_scale = W[:, None, None]


def noise() -> Tensor:
    return draw(SEEDS, START, torch.empty(4, 3, 4, dtype=torch.float64))


def sample(denoise: Denoise, sampler: Sampler[Tensor, Tensor], grid: tuple[float, ...]) -> Tensor:
    return run(sampler, denoise, start(noise(), grid), draw, SEEDS)


def extrapolated() -> tuple[Denoise, Tensor]:
    """Guide between means: the guided denoiser is that of N(null + w*(data - null), STD^2), whose flow is affine."""
    data, null, _ = means()
    guide = cfg(model(), labels(*[DATA] * 4), labels(NULL), W)
    return guide, null + each_scale * (data - null) + STD * noise()


def sharpened() -> tuple[Denoise, Tensor]:
    """Guide between deviations, s of the good model and t of the weak one, about one mean.

    With y = x/signal the guided flow is d(y - mean)/d(sigma) = sigma*(w/(s^2 + sigma^2) + (1 - w)/(t^2 + sigma^2))
    * (y - mean), so that y - mean = noise * (s^2 + sigma^2)^(w/2) * (t^2 + sigma^2)^((1 - w)/2).
    """
    mean, good, weak = means()[0], 0.4, 0.7
    guide = autoguide(gaussian(mean, good).denoise, gaussian(mean, weak).denoise, W)
    return guide, mean + noise() * good**each_scale * weak ** (1 - each_scale)


@pytest.mark.parametrize("case", [extrapolated, sharpened])
def test_guided_samples_converge_to_the_closed_form(case: Callable[[], tuple[Denoise, Tensor]]) -> None:
    guide, exact = case()
    errors = [(sample(guide, DDIM(), flow_shift(n)) - exact).flatten(1).norm(dim=1) for n in (50, 100, 200)]
    for coarse, fine in pairwise(errors):
        torch.testing.assert_close((coarse / fine).log2(), torch.ones(4, dtype=torch.float64), rtol=0, atol=0.15)
    assert (sample(guide, IPNDM(), flow_shift(200)) - exact).flatten(1).norm(dim=1).max() < 2e-3


GRID = (30.0, 8.0, 3.0, 1.2, 0.5, 0.2, 0.05, 0.0)
SCALE = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64)


def published(made: Denoiser, cond: Conditioning, null: Conditioning, grid: tuple[float, ...]) -> Tensor:
    """Run CFG++ as published: x0 from the guided prediction, noise from the unconditional one."""
    x = noise()
    for here, there in pairwise(grid):
        sigma = torch.full((4,), here, dtype=torch.float64)
        base = made(x, sigma, null.rows([0] * 4))
        x0 = base + SCALE[:, None, None] * (made(x, sigma, cond) - base)
        x = signal(there) * x0 + spread(there) * (x - signal(here) * base) / spread(here)
    return x


@pytest.mark.parametrize("process", [VP("scaled-linear", zero_snr=True), VE(), EDM(), Flow()], ids=repr)
def test_cfgpp_on_ddim_is_the_published_update(process: Process) -> None:
    made = Denoiser(MixtureNet((mixture((3, 4)), gaussian(means()[1])), process, "v"), process, "v")
    cond, null = labels(*[DATA] * 4), labels(NULL)
    grids = [GRID, GRID[:-1]] if math.isfinite(process.sigma_max) else [GRID, GRID[:-1], (math.inf, *GRID)]
    for grid in grids:
        expected = published(made, cond, null, grid)
        torch.testing.assert_close(
            sample(cfgpp(made, cond, null, SCALE, grid), DDIM(), grid), expected, rtol=0, atol=1e-9
        )


def test_cfgpp_has_the_scale_of_the_step_from_each_level() -> None:
    made, cond, null = model(), labels(*[DATA] * 4), labels(NULL)
    grid = (math.inf, 3.0, 2.4, 0.1, 0.0)
    level = torch.tensor([math.inf, 3.0, 2.7, 0.1])  # 2.7 is between two levels: 2.4 is the next
    expected = cfg(made, cond, null, 0.5 / (1 - torch.tensor([0, 2.4 / 3, 2.4 / 2.7, 0])))
    for sigma in (level, level.double()):  # a level rounded to float32 is still found
        x = noise()
        torch.testing.assert_close(cfgpp(made, cond, null, 0.5, grid)(x, sigma), expected(x, sigma), rtol=0, atol=1e-5)
