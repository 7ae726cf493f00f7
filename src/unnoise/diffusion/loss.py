"""The training loss: distributions of levels, and loss weighting.

In kind k the error of a prediction is ratio(own, k) times the error in the net's own kind. So a weighting is a factor
on the error of the net's own output, and no large weight is multiplied by a tiny error of x0.
"""

from collections.abc import Callable, Sized
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.prediction import mix, ratio, target
from unnoise.diffusion.process import Process
from unnoise.errors import InputError, nearest
from unnoise.sampling.kinds import Kind

MIN_SNR_GAMMA: Final = 5.0  # Hang et al. 2023, section 3.4


def sigma_lognormal(u: Tensor, mean: float, std: float) -> Tensor:
    """Map uniform numbers to levels with ln sigma ~ N(mean, std^2). u: any shape, in [0, 1].

    This is a logit-normal time of a flow, since ln sigma = logit t. u is clamped away from 0 and 1 by half the
    resolution of its dtype, so that sigma is in (0, inf).
    Source: Karras et al. 2022, table 1 (mean -1.2, std 1.2); Esser et al. 2024 (SD3), eq. 19 (mean 0, std 1).
    """
    edge = torch.finfo(u.dtype).eps / 2
    return torch.exp(mean + std * torch.special.ndtri(u.clamp(edge, 1 - edge)))


def sigma_uniform(u: Tensor, process: Process) -> Tensor:
    """Map uniform numbers to levels that are uniform in the time of a process. u: any shape, in [0, 1]."""
    ends = process.time(u.new_tensor([process.sigma_min, process.sigma_max]))
    return process.sigma(torch.lerp(ends[0], ends[1], u))


def _min_snr(own: Kind, sigma: Tensor) -> Tensor:
    """Bound the weight of x0: min(1/sigma^2, gamma). Source: Hang et al. 2023, section 3.4."""
    return torch.minimum(ratio(own, "eps", sigma), sqrt(MIN_SNR_GAMMA) * ratio(own, "x0", sigma))


def _plain(kind: Kind) -> Callable[[Kind, Tensor], Tensor]:
    return lambda own, sigma: ratio(own, kind, sigma)


WEIGHTS: Final[dict[str, Callable[[Kind, Tensor], Tensor]]] = {
    "x0": _plain("x0"),
    "eps": _plain("eps"),  # Ho et al. 2020, eq. 14
    "v": _plain("v"),
    "flow": _plain("flow"),  # Lipman et al. 2023, eq. 23
    "edm": _plain("v"),  # Karras et al. 2022, table 1: (sigma^2 + 1) / sigma^2 on x0 is 1 on v
    "min-snr": _min_snr,
}


def factor(weighting: str, own: Kind, sigma: Tensor) -> Tensor:
    """Return the factor on the error of a net of kind own before it is squared. sigma: (B,) -> (B,).

    factor(weighting, "x0", sigma)^2 is the weight in papers. Raises InputError for an unknown weighting.
    """
    if weighting not in WEIGHTS:
        raise InputError(f"weighting {weighting!r}: {nearest(weighting, WEIGHTS)}")
    return WEIGHTS[weighting](own, sigma)


def loss(denoiser: Denoiser, x0: Tensor, noise: Tensor, sigma: Tensor, cond: Sized, weighting: str) -> Tensor:
    """Return the weighted squared error of each sample.

    Args:
        denoiser: the network to train.
        x0, noise: (B, *d).
        sigma: (B,) in [0, inf]; the loss is finite at every level where the net predicts v or flow.
        cond: B rows.
        weighting: a name in WEIGHTS.

    Returns:
        (B,), the mean over the elements of each sample, in the precision of x0.

    Raises:
        InputError: the weighting is unknown, or noise has another shape than x0.
    """
    if noise.shape != x0.shape:
        raise InputError(f"noise {tuple(noise.shape)}: must have the shape of x0, {tuple(x0.shape)}")
    gain = factor(weighting, denoiser.kind, sigma)
    right = target(denoiser.kind, x0, noise, sigma)
    out = denoiser.predict(mix(x0, noise, sigma), sigma, cond)
    return gain.square() * (out.to(right.dtype) - right).square().flatten(1).mean(1)
