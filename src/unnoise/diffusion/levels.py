"""The noise levels of a run on a process: the first level of a strength, and named schedules for a model."""

from typing import Any

import torch

from unnoise.diffusion.process import VP, Process, Table
from unnoise.errors import InputError
from unnoise.sampling import registry
from unnoise.sampling.noise_schedules import levels_of


def start_level(strength: float | None, process: Process) -> float:
    """Return the first level of a run: sigma_max, or the level at a share of the process's time, its `strength`.

    So a strength is the same noise level with every sampler and number of steps.

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
        own: options that the model sets, such as its shift; schedules without such an option ignore it.

    Raises:
        InputError: the schedule does not fit the process.
    """
    top = process.sigma_max if sigma_max is None else sigma_max
    options: dict[str, Any] = {}
    allowed = registry.GRIDS[registry.known("schedule", name, registry.GRIDS)].options
    if "sigma_at" in allowed:
        ends = process.time(torch.tensor([top, process.sigma_min], dtype=torch.float64)).tolist()
        options = {"first": ends[0], "last": ends[1]}
        options["sigma_at"] = lambda time: process.sigma(torch.tensor(time, dtype=torch.float64)).item()
    options |= {option: value for option, value in own.items() if option in allowed}
    if "table" in allowed:
        if not isinstance(process, VP | Table):
            raise InputError(
                f"schedule {name!r}: strides through a table of levels, which {type(process).__name__} does not have; "
                f"'uniform' and 'beta' take any process, 'flow' and 'angle' any range"
            )
        if top != process.sigma_max:
            raise InputError(
                f"schedule {name!r}: strides through the whole table, so it takes no strength; use 'uniform'"
            )
        options = {"table": levels_of(process.table())}
    return registry.grid(name, steps, top, process.sigma_min, **options)
