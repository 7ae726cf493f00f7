"""Build a schedule by name for a process: levels of noise with what the schedule needs of the process."""

from math import inf, sqrt
from typing import Any

import torch

from unnoise.diffusion.process import VP, Process, Table
from unnoise.errors import InputError
from unnoise.sampling import registry


def named_schedule(
    name: str, steps: int, process: Process, sigma_max: float | None = None, **own: Any
) -> tuple[float, ...]:
    """Return the levels of a named schedule.

    Args:
        name: of the schedule.
        steps: their number, from 1.
        process: of the model.
        sigma_max: the first level, if it is below that of the process.
        own: options of the model, such as its shift; those that the schedule does not have are ignored.

    Raises:
        InputError: the name is unknown, or the schedule does not work with the process.
    """
    top = process.sigma_max if sigma_max is None else sigma_max
    options: dict[str, Any] = {}
    known = registry.GRIDS[registry.known("schedule", name, registry.GRIDS)].options
    if "sigma_at" in known:
        ends = process.time(torch.tensor([top, process.sigma_min], dtype=torch.float64)).tolist()
        options = {"first": ends[0], "last": ends[1]}
        options["sigma_at"] = lambda time: process.sigma(torch.tensor(time, dtype=torch.float64)).item()
    options |= {option: value for option, value in own.items() if option in known}
    if "table" in known:
        if not isinstance(process, VP | Table):
            raise InputError(
                f"schedule {name!r}: needs a table of levels, which {type(process).__name__} does not have; "
                f"'uniform' and 'beta' work with any clock, 'flow' and 'angle' with any range"
            )
        if top != process.sigma_max:
            raise InputError(f"schedule {name!r}: covers the whole table, also above a strength; 'uniform' does not")
        options = {"table": [sqrt((1 - a) / a) if a else inf for a in process.table()]}
    return registry.grid(name, steps, top, process.sigma_min, **options)
