"""Tables of a discrete variance-preserving process: made, and read between two steps."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import cos, exp, inf, log, pi, sqrt
from operator import mul
from typing import Final

import torch
from torch import Tensor


def linear_betas(start: float, end: float, steps: int) -> list[float]:
    """Space betas evenly. Source: Ho et al. 2020, section 4."""
    return _linspace(start, end, steps)


def scaled_linear_betas(start: float, end: float, steps: int) -> list[float]:
    """Space the roots of betas evenly. Source: CompVis/latent-diffusion, modules/diffusionmodules/util.py."""
    return [root**2 for root in _linspace(sqrt(start), sqrt(end), steps)]


def sigmoid_betas(start: float, end: float, steps: int) -> list[float]:
    """Space betas along a logistic curve, of -6 to 6. Source: MinkaiXu/GeoDiff, models/epsnet/diffusion.py."""
    return [start + (end - start) / (1 + exp(-x)) for x in _linspace(-6, 6, steps)]


def curve_betas(curve: Callable[[float], float], steps: int) -> list[float]:
    """Let a^2 follow a curve of t, which is (i + 1)/steps at step i, divided by its value at t = 0.

    betas are at most 0.999, which a curve that ends in 0 exceeds in its last step.
    Source: Nichol & Dhariwal 2021, eq. 17 and the text below it.
    """
    levels = [curve(i / steps) for i in range(steps + 1)]
    return [min(1 - after / before, 0.999) for before, after in pairwise(levels)]


def cosine(t: float) -> float:
    """Give a^2 that falls as a squared cosine. Source: Nichol & Dhariwal 2021, eq. 17."""
    return cos((t + 0.008) / 1.008 * pi / 2) ** 2


def sigmoid(t: float) -> float:
    """Give a^2 that falls as a logistic curve from -3 to 3, moved and stretched to go from 1 to 0.

    Source: Jabri et al. 2022 (RIN), figure 8; -3, 3 and tau 1: lucidrains/denoising-diffusion-pytorch.
    """
    low, here, high = (1 / (1 + exp(-x)) for x in (-3, 6 * t - 3, 3))
    return (high - here) / (high - low)


def laplace(t: float) -> float:
    """Give a^2 whose log-SNR has Laplace's distribution, of mean 0 and scale 1/2, for t uniform in [0, 1].

    SNR = (2*t)^(-1/2) up to t = 1/2, then (2 - 2*t)^(1/2). diffusers' `laplace` takes a for a^2: that is a Table.
    Source: Hang et al. 2024, "Improved noise schedule for diffusion training" (mu = 0 and b = 0.5, its best).
    """
    if t <= 0.5:
        return 1 / (1 + sqrt(2 * t))
    snr = sqrt(2 - 2 * t)
    return snr / (1 + snr)


def exponential(t: float) -> float:
    """Give a^2 = e^(-12*t). Source: openai/shap-e, shap_e/diffusion/gaussian_diffusion.py, its schedule `exp`."""
    return exp(-12 * t)


RAMPS: Final[dict[str, Callable[[float, float, int], list[float]]]] = {
    "linear": linear_betas,
    "scaled-linear": scaled_linear_betas,
    "sigmoid-beta": sigmoid_betas,
}
CURVES: Final[dict[str, Callable[[float], float]]] = {
    "cosine": cosine,
    "sigmoid": sigmoid,
    "laplace": laplace,
    "exponential": exponential,
}


def products(betas: Sequence[float]) -> tuple[float, ...]:
    """Give a^2 of every step, the product of 1 - beta so far. Source: Ho et al. 2020, eq. 4."""
    return tuple(accumulate((1 - beta for beta in betas), mul))


def zero_snr(alphas_cumprod: Sequence[float]) -> tuple[float, ...]:
    """Move the last a to 0 and keep the first. Source: Lin et al. 2023, algorithm 1."""
    roots = [sqrt(alpha) for alpha in alphas_cumprod]
    first, last = roots[0], roots[-1]
    return tuple(((root - last) * first / (first - last)) ** 2 for root in roots)


class Ladder:
    """The levels of a table, one rung a step, readable between rungs.

    log sigma is linear in time between two rungs; below a last rung at inf, 1/sigma is.
    Source: crowsonkb/k-diffusion, external.py, DiscreteSchedule (the first; the second continues it to inf).
    """

    def __init__(self, alphas_cumprod: Sequence[float]) -> None:
        sigmas = [sqrt((1 - alpha) / alpha) if alpha > 0 else inf for alpha in alphas_cumprod]
        self.sigma_min, self.sigma_max, self.last = sigmas[0], sigmas[-1], len(sigmas) - 1
        self._logs = torch.tensor([log(sigma) for sigma in sigmas], dtype=torch.float64)
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def sigma(self, time: Tensor) -> Tensor:
        """Give the level at a time. time: any shape, taken into [0, last]."""
        logs, time = self._like(time), time.clamp(0, self.last)
        low = time.floor().clamp(max=self.last - 1).long()
        part, below, above = time - low, logs[low], logs[low + 1]
        inside = torch.exp(torch.lerp(below, above.nan_to_num(), part))
        return torch.where(above.isinf(), torch.exp(below) / (1 - part), inside)

    def time(self, sigma: Tensor) -> Tensor:
        """Give the time of a level. sigma: any shape, taken into [sigma_min, sigma_max]."""
        logs = self._like(sigma)
        here = torch.log(sigma).clamp(logs[0], logs[-1])
        low = (torch.searchsorted(logs, here, right=True) - 1).clamp(0, self.last - 1)
        below, above = logs[low], logs[low + 1]
        part = torch.where(above.isinf(), -torch.expm1(below - here), (here - below) / (above - below))
        return low + part

    def _like(self, other: Tensor) -> Tensor:
        place = other.device, other.dtype
        if place not in self._placed:
            self._placed[place] = self._logs.to(*place)
        return self._placed[place]


def _linspace(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * i / (count - 1) for i in range(count)]
