"""With the same levels, noise and denoiser, our samplers and those of diffusers end at the same points.

Samplers of diffusers that differ from the published method are left out: see the docstrings of DPMpp3M and SASolver.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import schedulers as peers
from torch import Tensor

from sampling.checks import POINTS, TWO_MODES
from unnoise.sampling import (
    DDIM,
    DEIS,
    DPM2,
    LMS,
    DPMpp2M,
    EDMHeun,
    EulerAncestral,
    Sampler,
    UniPC,
    run,
    start,
)
from unnoise.sampling.grid import skipping
from unnoise.sampling.level import eps_of, signal

STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
STEPS = 10
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
NOISE = torch.from_numpy(np.random.default_rng(8).normal(size=(STEPS, *POINTS.shape)))


def ours(sampler: Sampler[Any, Any], grid: list[float]) -> Tensor:
    """Return the end of our run over a grid, from POINTS as x in the unit frame."""
    x = run(sampler, TWO_MODES.denoise, start(POINTS, grid), lambda query, like: NOISE[query].numpy())
    return torch.from_numpy(x)


def eps(x: Tensor, sigma: float) -> Tensor:
    """Return the prediction of an eps network: x in the unit frame."""
    return torch.from_numpy(eps_of(x.numpy(), TWO_MODES.denoise(x.numpy(), sigma), sigma))


def theirs(peer: Any, wide: bool, short: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[float]]:
    """Return the end of a run of diffusers, and its levels.

    wide: x = x0 + sigma·eps, which `scale_model_input` brings to the unit frame; otherwise x is in the unit frame.
    short: without the last step, which LMS of diffusers extrapolates to sigma = 0, where ours returns x0-hat.
    """
    drawn = iter(NOISE)
    monkeypatch.setitem(type(peer).step.__globals__, "randn_tensor", lambda *_, **__: next(drawn))
    peer.set_timesteps(STEPS)
    levels = peer.sigmas.double().tolist()
    x = torch.from_numpy(POINTS) / (signal(levels[0]) if wide else 1.0)
    visited: list[float] = []
    for k, time in enumerate(peer.timesteps[:-1] if short else peer.timesteps):
        first = getattr(peer, "state_in_first_order", True)
        sigma = levels[k] if first or not hasattr(peer, "sigmas_interpol") else float(peer.sigmas_interpol[k])
        visited += [sigma] if first else []
        peer.scale_model_input(x, time)  # LMS warns where it is not called
        x = peer.step(eps(x * signal(sigma) if wide else x, sigma), time, x).prev_sample.double()
    end = levels[len(visited)] if short else levels[-1]
    return x * signal(end) if wide else x, [*visited, end]


KARRAS, LEADING = {"use_karras_sigmas": True}, {"timestep_spacing": "leading"}
TO_ZERO = {"final_sigmas_type": "zero"}


@pytest.mark.parametrize(
    ("sampler", "name", "wide", "options"),
    [
        (DDIM(), "EulerDiscreteScheduler", True, {}),
        (DDIM(), "EulerDiscreteScheduler", True, KARRAS),
        (EulerAncestral(), "EulerAncestralDiscreteScheduler", True, {}),
        (EulerAncestral(), "EulerAncestralDiscreteScheduler", True, LEADING),
        (EDMHeun(churn=0.0), "HeunDiscreteScheduler", True, {}),
        (EDMHeun(churn=0.0), "HeunDiscreteScheduler", True, KARRAS),
        (DPM2(), "KDPM2DiscreteScheduler", True, {}),
        (DPM2(), "KDPM2DiscreteScheduler", True, KARRAS),
        (LMS(), "LMSDiscreteScheduler", True, {}),
        (LMS(), "LMSDiscreteScheduler", True, KARRAS),
        (DPMpp2M(), "DPMSolverMultistepScheduler", False, TO_ZERO),
        (DPMpp2M(), "DPMSolverMultistepScheduler", False, TO_ZERO | KARRAS),
        (DEIS(2), "DEISMultistepScheduler", False, {"lower_order_final": False}),
        (DEIS(2), "DEISMultistepScheduler", False, {"lower_order_final": False} | LEADING),
        (UniPC(), "UniPCMultistepScheduler", False, TO_ZERO),
        (UniPC(), "UniPCMultistepScheduler", False, TO_ZERO | KARRAS),
    ],
    ids=repr,
)
def test_it_ends_where_diffusers_does(
    sampler: Sampler[Any, Any], name: str, wide: bool, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = getattr(peers, name)(**STABLE_DIFFUSION, **options)
    end, grid = theirs(peer, wide, isinstance(sampler, LMS), monkeypatch)
    assert (ours(sampler, grid) - end).abs().max() < 1e-5


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_ends_where_diffusers_does(eta: float) -> None:
    """DDIMScheduler has no levels of its own: it reads the products of 1 - beta from a table, and ends at 1.

    Each step goes to t - 1000//steps, which is the next time only where steps divides 1000.
    """
    peer = peers.DDIMScheduler(**STABLE_DIFFUSION, clip_sample=False, timestep_spacing="trailing")
    peer.alphas_cumprod = torch.cumprod(1 - peer.betas.double(), 0)
    peer.set_timesteps(STEPS)
    levels = [math.sqrt(1 / float(peer.alphas_cumprod[time]) - 1) for time in peer.timesteps]
    x = torch.from_numpy(POINTS)
    for k, time in enumerate(peer.timesteps):
        noise = NOISE[k] if eta else None
        x = peer.step(eps(x, levels[k]), time, x, eta=eta, variance_noise=noise).prev_sample
    assert (ours(DDIM(eta), [*levels, 0.0]) - x).abs().max() < 1e-5


def test_the_lcm_grid_has_the_times_of_diffusers() -> None:
    theirs = peers.LCMScheduler()
    theirs.set_timesteps(4)
    assert theirs.timesteps.tolist() == [999, 759, 499, 259]
    assert skipping(range(1, 1001), 4)[:-1] == (1000, 760, 500, 260)
