"""Levels that were optimised for one family of models, and published as a list for ten steps.

Other numbers of steps are read off the list on a logarithmic scale, and the last level of the list counts as clean: it
is not asked, it becomes 0 (the guide's own code stops at it). A list fits its own family alone, so a model with another
range is refused.

Source: Sabour et al. 2024 (align your steps), the lists and the log-linear interpolation of its quickstart guide;
ComfyUI's AlignYourStepsScheduler and diffusers' AysSchedules put 0 for the last level as well.
"""

import math
from collections.abc import Mapping, Sequence

from unnoise.errors import InputError, nearest
from unnoise.sampling.grid import counted, explicit, ranged

LEVELS: Mapping[str, tuple[float, ...]] = {
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
ROUNDING = 0.01  # the published ends are rounded: 0.029 stands for the 0.02917 of Stable Diffusion


def aligned(steps: int, family: str, sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Return the published levels of a family, for any number of steps, from the model's own sigma_max to 0.

    family: sd15, sdxl or svd. Raises InputError for a model whose range is not the family's.
    """
    ranged(steps, sigma_max, sigma_min)
    if family not in LEVELS:
        raise InputError(f"family {family!r}: {nearest(family, LEVELS)}")
    top, bottom = LEVELS[family][0], LEVELS[family][-1]
    if abs(sigma_max / top - 1) > ROUNDING or sigma_min > bottom * (1 + ROUNDING):
        raise InputError(
            f"grid 'ays-{family}': made for models from {top:g} to {bottom:g}, and this one is defined from "
            f"{sigma_max:g} to {sigma_min:g}; 'default', 'flow' and 'angle' take any range"
        )
    return explicit((sigma_max, *log_linear(LEVELS[family], steps)[1:-1], 0.0))


def log_linear(levels: Sequence[float], steps: int) -> tuple[float, ...]:
    """Return steps + 1 levels along a list of positive levels, straight in log(sigma) between its entries."""
    counted(steps)
    if not all(0 < level < math.inf for level in explicit(levels)):
        raise InputError(f"levels {list(levels)}: finite and above 0, to have logarithms")
    pieces = len(levels) - 1
    found = []
    for i in range(steps + 1):
        k = min(i * pieces // steps, pieces - 1)
        part = i * pieces / steps - k
        found.append(levels[k] ** (1 - part) * levels[k + 1] ** part)
    return tuple(found)
