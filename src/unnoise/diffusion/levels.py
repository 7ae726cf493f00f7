"""The noise levels of a run on a process: where a strength starts, what a named schedule needs of the model."""

from math import inf, sqrt
from typing import Any

import torch

from unnoise.diffusion.process import VP, Process, Table
from unnoise.errors import InputError
from unnoise.sampling import registry


def start_level(strength: float | None, process: Process) -> float:
    """Return the level at which a request starts: the noisiest, or the level at a share of the process's clock.

    So a strength means the same noise with every sampler and number of steps.

    Raises:
        InputError: there is no noise at that level.
    """
    if strength is None or strength == 1:
        return process.sigma_max
    ends = torch.tensor([process.sigma_min, process.sigma_max], dtype=torch.float64)
    low, high = process.time(ends).tolist()
    level = float(process.sigma(torch.tensor(low + strength * (high - low), dtype=torch.float64)))
    if level <= process.sigma_min:
        raise InputError(f"strength {strength:g}: starts at level {level:g}, where there is no noise; use a larger one")
    return level


def named_schedule(
    name: str, steps: int, process: Process, sigma_max: float | None = None, **own: Any
) -> tuple[float, ...]:
    """Build the levels of a named schedule for a process.

    Args:
        name: of the schedule.
        steps: number of steps.
        process: of the model.
        sigma_max: the first level, where it is below the process's.
        own: options that the model sets, such as its shift; a schedule without such an option ignores it.

    Raises:
        InputError: the schedule does not fit the process.
    """
    top = process.sigma_max if sigma_max is None else sigma_max
    options: dict[str, Any] = {}
    wanted = registry.GRIDS[registry.known("schedule", name, registry.GRIDS)].options
    if "sigma_at" in wanted:
        ends = process.time(torch.tensor([top, process.sigma_min], dtype=torch.float64)).tolist()
        options = {"first": ends[0], "last": ends[1]}
        options["sigma_at"] = lambda time: process.sigma(torch.tensor(time, dtype=torch.float64)).item()
    options |= {option: value for option, value in own.items() if option in wanted}
    if "table" in wanted:
        if not isinstance(process, VP | Table):
            raise InputError(
                f"schedule {name!r}: strides through a table of levels, which {type(process).__name__} does not have; "
                f"'uniform' and 'beta' take any clock, 'flow' and 'angle' any range"
            )
        if top != process.sigma_max:
            raise InputError(
                f"schedule {name!r}: strides through the whole table, so it takes no strength; use 'uniform'"
            )
        options = {"table": [sqrt((1 - a) / a) if a else inf for a in process.table()]}
    return registry.grid(name, steps, top, process.sigma_min, **options)
