"""Helpers of the rules of the grid: the noise levels of Stable Diffusion, and pipelines of diffusers."""

from functools import cache
from math import sqrt

from unnoise.check.tables import task
from unnoise.families.images import SCALED_LINEAR

TRAINED = 1000  # noise levels in training of every known model with betas
OWN = ("LCMScheduler", "TCDScheduler", "DDPMWuerstchenScheduler")  # classes with times of their own

# Classes whose Karras, exponential and beta levels span the whole table; those of others start at the first time.
WHOLE = ("DPMSolver", "UniPC", "DEIS", "SASolver")
SPANS = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta"}


def is_own(class_: str) -> bool:
    """Return whether a pipeline is one of diffusers' own, which uses the scheduler that its model ships with."""
    return bool(task(class_)) or class_ == "DiffusionPipeline"


def levels_of(name: str, start: float, end: float, count: int = TRAINED) -> tuple[float, ...]:
    """List the noise-to-signal ratios of a schedule of betas, from time 0.   Source: diffusers, scheduling_ddpm.py."""
    kept, found = 1.0, []
    for index in range(count):
        share = index / (count - 1) if count > 1 else 0.0
        root = sqrt(start) + share * (sqrt(end) - sqrt(start))
        kept *= 1 - (root**2 if name == "scaled_linear" else start + share * (end - start))
        found.append(sqrt((1 - kept) / kept))
    return tuple(found)


@cache
def levels() -> tuple[float, ...]:
    """List the noise-to-signal ratios of all times of Stable Diffusion, from time 0."""
    return levels_of(*SCALED_LINEAR)


def last_level(name: str, start: float, end: float, count: int = TRAINED) -> float:
    """Return the noise-to-signal ratio of the last time of a schedule of betas."""
    return levels_of(name, start, end, count)[-1]
