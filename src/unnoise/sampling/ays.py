"""Align Your Steps: levels optimised for one family of models and published as a list for ten steps.

Lists for other numbers of steps are interpolated log-linearly. The last level of a list is set to 0, because the
guide's own code ends there without a call of the network. A list is valid only for its own family, so a model with
another range is an error.

Source: Sabour et al. 2024 (align your steps), the lists and the log-linear interpolation of its quickstart guide;
ComfyUI's AlignYourStepsScheduler and diffusers' AysSchedules put 0 for the last level as well.
"""

import math
from collections.abc import Mapping, Sequence

from unnoise.errors import InputError, nearest
from unnoise.sampling.grid import check_range, check_steps, explicit

LEVELS: Mapping[str, tuple[float, ...]] = {
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
ROUNDING = 0.01  # the published ends are rounded: 0.029 stands for the 0.02917 of Stable Diffusion


def aligned(steps: int, family: str, sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Return the published levels of a family, interpolated to any number of steps, from sigma_max to 0.

    Args:
        family: "sd15", "sdxl" or "svd".
        sigma_max, sigma_min: the range of the model, which must be that of the family.
    """
    check_range(steps, sigma_max, sigma_min)
    if family not in LEVELS:
        raise InputError(f"family {family!r}: {nearest(family, LEVELS)}")
    top, bottom = LEVELS[family][0], LEVELS[family][-1]
    if abs(sigma_max / top - 1) > ROUNDING or sigma_min > bottom * (1 + ROUNDING):
        raise InputError(
            f"schedule 'ays-{family}' on a model from {sigma_max:g} to {sigma_min:g}: made for models from {top:g} to "
            f"{bottom:g}; use 'default', 'flow' or 'angle', which take any range"
        )
    return explicit((sigma_max, *log_linear(LEVELS[family], steps)[1:-1], 0.0))


def log_linear(levels: Sequence[float], steps: int) -> tuple[float, ...]:
    """Return steps + 1 levels interpolated linearly in log(sigma) between the positive levels of a list."""
    check_steps(steps)
    if not all(0 < level < math.inf for level in explicit(levels)):
        raise InputError(f"levels {list(levels)}: finite numbers above 0")
    pieces = len(levels) - 1
    found = []
    for i in range(steps + 1):
        k = min(i * pieces // steps, pieces - 1)
        part = i * pieces / steps - k
        found.append(levels[k] ** (1 - part) * levels[k + 1] ** part)
    return tuple(found)
