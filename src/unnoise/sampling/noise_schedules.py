"""Noise schedules of discrete variance-preserving (VP) processes: tables of betas and of alphas_cumprod.

x at step i is a·x0 + b·eps with a^2 = alphas_cumprod[i], the product of 1 - beta up to i, and b^2 = 1 - a^2.
"""

from collections.abc import Callable, Sequence
from math import cos, exp, inf, pi, sqrt
from typing import Final


def linear_betas(start: float, end: float, steps: int) -> list[float]:
    """Return betas evenly spaced from start to end. Source: Ho et al. 2020, section 4."""
    return _linspace(start, end, steps)


def scaled_linear_betas(start: float, end: float, steps: int) -> list[float]:
    """Return betas with evenly spaced square roots. Source: CompVis/latent-diffusion, diffusionmodules/util.py."""
    return [root**2 for root in _linspace(sqrt(start), sqrt(end), steps)]


def sigmoid_betas(start: float, end: float, steps: int) -> list[float]:
    """Return betas on a logistic curve from -6 to 6. Source: MinkaiXu/GeoDiff, models/epsnet/diffusion.py."""
    return [start + (end - start) / (1 + exp(-x)) for x in _linspace(-6, 6, steps)]


def curve_betas(curve: Callable[[float], float], steps: int) -> list[float]:
    """Return betas whose a^2 is curve(t)/curve(0), with t = (i + 1)/steps at step i.

    Betas are clipped to 0.999, which acts in the last step of a curve that ends in 0.
    Source: Nichol & Dhariwal 2021, eq. 17 and the text below it.
    """
    values = [curve(i / steps) for i in range(steps + 1)]
    return [min(1 - values[i + 1] / values[i], 0.999) for i in range(steps)]


def cosine(t: float) -> float:
    """Return a^2 that falls as a squared cosine. Source: Nichol & Dhariwal 2021, eq. 17."""
    return cos((t + 0.008) / 1.008 * pi / 2) ** 2


def sigmoid(t: float) -> float:
    """Return a^2 that falls as a logistic curve from -3 to 3, scaled to the range from 1 to 0.

    Source: Jabri et al. 2022 (RIN), figure 8; -3, 3 and tau 1: lucidrains/denoising-diffusion-pytorch.
    """
    low, here, high = (1 / (1 + exp(-x)) for x in (-3, 6 * t - 3, 3))
    return (high - here) / (high - low)


def laplace(t: float) -> float:
    """Return a^2 whose log-SNR has a Laplace distribution, of mean 0 and scale 1/2, for t uniform in [0, 1].

    SNR = (2*t)^(-1/2) up to t = 1/2, then (2 - 2*t)^(1/2). diffusers' `laplace` uses a in place of a^2; it is a Table.
    Source: Hang et al. 2024, "Improved noise schedule for diffusion training" (mu = 0 and b = 0.5, its best).
    """
    if t <= 0.5:
        return 1 / (1 + sqrt(2 * t))
    snr = sqrt(2 - 2 * t)
    return snr / (1 + snr)


def exponential(t: float) -> float:
    """Return a^2 = e^(-12*t). Source: openai/shap-e, shap_e/diffusion/gaussian_diffusion.py, its schedule `exp`."""
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
    """Return a^2 of every step, the cumulative product of 1 - beta. Source: Ho et al. 2020, eq. 4."""
    found, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        found.append(product)
    return tuple(found)


def zero_snr(alphas_cumprod: Sequence[float]) -> tuple[float, ...]:
    """Return a^2 with a shifted and scaled so that the last is 0 and the first unchanged (zero terminal SNR).

    Source: Lin et al. 2023, algorithm 1.
    """
    roots = [sqrt(alpha) for alpha in alphas_cumprod]
    first, last = roots[0], roots[-1]
    return tuple(((root - last) * first / (first - last)) ** 2 for root in roots)


def levels_of(alphas_cumprod: Sequence[float]) -> tuple[float, ...]:
    """Return sigma = b/a of every step, inf where a^2 is 0."""
    return tuple(sqrt((1 - alpha) / alpha) if alpha > 0 else inf for alpha in alphas_cumprod)


def _linspace(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * i / (count - 1) for i in range(count)]
