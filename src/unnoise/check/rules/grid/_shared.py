"""Helpers of the rules of the grid: the noise levels of Stable Diffusion, and pipelines of diffusers."""

from functools import cache
from math import sqrt

from unnoise.check.tables import task
from unnoise.families.images import SCALED_LINEAR

TRAINED = 1000  # noise levels in training
OWN = ("LCMScheduler", "TCDScheduler", "DDPMWuerstchenScheduler")  # classes with times of their own

# Classes whose Karras, exponential and beta levels span the whole table; those of others start at the first time.
WHOLE = ("DPMSolver", "UniPC", "DEIS", "SASolver")
SPANS = {"use_karras_sigmas": "karras", "use_exponential_sigmas": "exponential", "use_beta_sigmas": "beta"}


def is_own(class_: str) -> bool:
    """Return whether a pipeline is one of diffusers' own, which uses the scheduler that its model ships with."""
    return bool(task(class_)) or class_ == "DiffusionPipeline"


@cache
def levels() -> tuple[float, ...]:
    """List the noise-to-signal ratios of all times of Stable Diffusion, from time 0."""
    kept, found = 1.0, []
    _, start, end = SCALED_LINEAR
    for index in range(TRAINED):
        kept *= 1 - (sqrt(start) + index / (TRAINED - 1) * (sqrt(end) - sqrt(start))) ** 2
        found.append(sqrt((1 - kept) / kept))
    return tuple(found)
