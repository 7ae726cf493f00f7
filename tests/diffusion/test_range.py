"""A level outside of the range of a process is refused, and the message gives the range."""

import math
import re

import pytest
import tiny

from unnoise.diffusion.process import EDM, SCHEDULES, VE, VP, Flow, Process, Table
from unnoise.errors import InputError
from unnoise.generation.choose_sampler import route
from unnoise.generation.options import SamplingOptions
from unnoise.generation.request import Request
from unnoise.sampling.registry import GRIDS

PROCESSES: list[Process] = [
    *(VP(schedule) for schedule in SCHEDULES),
    *(VP(schedule, zero_snr=True) for schedule in SCHEDULES),
    Table((0.9, 0.3, 0.01)),
    VE(),
    EDM(),
    Flow(),
    Flow(3.0),
]
each = pytest.mark.parametrize("process", PROCESSES, ids=repr)
HIGHEST = 1e15


def levels_of(process: Process, schedule: str | tuple[float, ...]) -> tuple[float, ...]:
    """Return the levels of a request for a schedule."""
    options = SamplingOptions(schedule=schedule, steps=5 if isinstance(schedule, str) else None)
    return route(Request(("a heart",), options), tiny.CARD, process)[1]


def bounds(process: Process) -> str:
    return re.escape(f"this model is defined from {process.sigma_min:g} to {process.sigma_max:g}")


@pytest.mark.parametrize("process", [each for each in PROCESSES if each.sigma_max < math.inf], ids=repr)
def test_a_level_above_the_range_is_refused(process: Process) -> None:
    top = process.sigma_max
    assert levels_of(process, (top, 0.9 * top, 0.0))[0] == top
    for level in (1.01 * top, math.inf):
        with pytest.raises(InputError, match=rf"grid\[0\] is {re.escape(f'{level:g}')}: {bounds(process)}"):
            levels_of(process, (level, 0.9 * top, 0.0))


@pytest.mark.parametrize("process", [each for each in PROCESSES if each.sigma_min > 0], ids=repr)
def test_a_level_below_the_range_is_refused_if_the_net_runs_there(process: Process) -> None:
    low, start = process.sigma_min, min(process.sigma_max, HIGHEST)
    assert levels_of(process, (start, low, 0.0))[1] == low
    assert levels_of(process, (start, low, 0.5 * low))[2] == 0.5 * low  # the net does not run at the last level
    with pytest.raises(InputError, match=rf"grid\[1\] is {re.escape(f'{0.99 * low:g}')}: {bounds(process)}"):
        levels_of(process, (start, 0.99 * low, 0.0))


def fits(grid: tuple[float, ...], process: Process) -> bool:
    """Return whether all levels but the last are in the range of the process, up to rounding."""
    return process.sigma_min * (1 - 1e-6) <= min(grid[:-1]) and max(grid) <= process.sigma_max * (1 + 1e-6)


@each
def test_schedules_for_any_range_stay_in_it(process: Process) -> None:
    for name in ("default", "angle", "flow", "uniform"):
        grid = levels_of(process, name)
        assert len(grid) == 6
        assert fits(grid, process)


@pytest.mark.parametrize("name", GRIDS)
@each
def test_a_named_schedule_is_in_the_range_or_refused(process: Process, name: str) -> None:
    try:
        grid = levels_of(process, name)
    except InputError as refusal:
        assert re.match(r"grid |schedule |steps ", str(refusal))  # noqa: PT017
        grid = (process.sigma_max, 0.0)
    assert fits(grid, process)
