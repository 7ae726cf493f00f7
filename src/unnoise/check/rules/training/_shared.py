"""Helpers of the rules of training: settings as numbers and switches, and the noise levels of SD training."""

from functools import cache
from math import sqrt
from typing import Any

from unnoise.check.coerce import finite
from unnoise.check.subject import Located, Subject, Training

GUIDED = "guidance_scale"  # of a net with the guidance scale as an input, in sd-scripts and diffusers alike
WITH_V = {"sd1", "sd2", "sdxl"}  # families with models of both targets


def is_on(training: Training, key: str) -> bool:
    """Return whether a switch is set, or a number that is not zero."""
    setting = training.get(key)
    return setting is not None and (setting.value is True or bool(number(setting)))


def number(setting: Located[Any] | None) -> float | None:
    """Return a finite number; None for anything else, such as a switch."""
    return finite(setting.value) if setting else None


def word(training: Training, key: str) -> str:
    """Return a text setting in lower case; "" where it is not stated."""
    setting = training.get(key)
    return setting.value.lower() if setting and isinstance(setting.value, str) else ""


def family(training: Training) -> str:
    """Return the family of the base; "" where it is not known."""
    return training.base.identity.family if training.base and training.base.identity.known else ""


def is_base_known(training: Training) -> bool:
    """Return whether the base is known by its name or tensors, not only by its training script."""
    if not family(training) or training.base is None:
        return False
    known_by = training.base.identity.known_by
    return not known_by.startswith("trained with") and "--v2" not in known_by


def is_from_metadata(subject: Subject) -> bool:
    """Return whether the settings come from the metadata of a trained file."""
    return bool(subject.weights)


def option(training: Training, key: str, value: object) -> str:
    """Write a setting in the notation of the tool: `--key value` of a command, `key = value` of TOML."""
    if training.script:
        return f"--{key}" if value is True else f"--{key}={value}"
    shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return f"{key} = {shown}"


@cache
def alphas() -> tuple[float, ...]:
    """Compute alpha_bar of Stable Diffusion's 1000 times: betas scaled linearly from 0.00085 to 0.012."""
    first, last = sqrt(0.00085), sqrt(0.012)
    found, product = [], 1.0
    for i in range(1000):
        product *= 1 - (first + (last - first) * i / 999) ** 2
        found.append(product)
    return tuple(found)


@cache
def alphas_to_zero() -> tuple[float, ...]:
    """Compute the same with zero terminal SNR.   Source: Lin et al. 2023, arXiv:2305.08891, algorithm 1."""
    roots = [sqrt(alpha) for alpha in alphas()]
    stretch = roots[0] / (roots[0] - roots[-1])
    return tuple(((root - roots[-1]) * stretch) ** 2 for root in roots)


def snr(alpha: float) -> float:
    """Return the ratio of signal to noise, alpha_bar / (1 - alpha_bar)."""
    return alpha / (1 - alpha)
