"""Choose the levels to visit: every grid is a tuple of steps + 1 levels of sigma that descends to 0."""

import math
from collections.abc import Callable, Iterable, Sequence

from unnoise.errors import Refusal
from unnoise.sampling.level import place


def karras(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> tuple[float, ...]:
    """Space the levels evenly in sigma^(1/rho), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Karras et al. 2022 (EDM), eq. 5; rho = 7 is its choice (appendix D.1).
    Raises Refusal for sigma_max = inf, which has no finite power.
    """
    bounded("karras", steps, sigma_max, sigma_min)
    positive("rho", rho)
    roots = spaced(steps, sigma_max ** (1 / rho), sigma_min ** (1 / rho))
    return (sigma_max, *(root**rho for root in roots[1:]), 0.0)


def exponential(steps: int, sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Space the levels evenly in log(sigma), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Lu et al. 2022a (DPM-Solver), section 3.3: uniform log-SNR.
    Raises Refusal for sigma_max = inf, whose logarithm is infinite.
    """
    bounded("exponential", steps, sigma_max, sigma_min)
    logs = spaced(steps, math.log(sigma_max), math.log(sigma_min))
    return (sigma_max, *(math.exp(value) for value in logs[1:]), 0.0)


def angle(steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0) -> tuple[float, ...]:
    """Space the levels evenly in atan(sigma), the angle between signal and spread, and never ask below sigma_min.

    Source: Salimans & Ho 2022 (progressive distillation), appendix D, the angle of v; cosine schedules are even in it.
    """
    ranged(steps, sigma_max, sigma_min)
    top = math.atan(sigma_max)
    angles = spaced(steps, top, max(top / steps, math.atan(sigma_min)))
    return (sigma_max, *(math.tan(value) for value in angles[1:]), 0.0)


def flow_shift(
    steps: int, shift: float = 1.0, rho: float = 1.0, sigma_max: float = math.inf, sigma_min: float = 0.0
) -> tuple[float, ...]:
    """Space the levels evenly in t^(1/rho) of flow time t, and never ask below sigma_min.

    sigma = shift·t/(1 - t), t in [0, 1]: shift > 1 dwells where there is much noise, rho > 1 where there is little.
    Source: Esser et al. 2024 (Stable Diffusion 3), eq. 23: t' = shift·t/(1 + (shift - 1)·t) with sigma = t'/(1 - t').
    """
    ranged(steps, sigma_max, sigma_min)
    positive("shift", shift)
    positive("rho", rho)

    def root(sigma: float) -> float:
        return (1.0 if math.isinf(sigma) else sigma / (shift + sigma)) ** (1 / rho)

    times = [value**rho for value in spaced(steps, root(sigma_max), max(root(sigma_max) / steps, root(sigma_min)))]
    return (sigma_max, *(shift * time / (1.0 - time) for time in times[1:]), 0.0)


def uniform_time(
    steps: int, sigma_at: Callable[[float], float], first: float = 1.0, last: float = 0.0
) -> tuple[float, ...]:
    """Space the levels evenly on a model's own clock, whose level at a time is sigma_at(time), from first to last.

    `last` is the time that counts as clean: its level is not asked, it becomes 0.
    Raises Refusal when sigma_at does not descend from first to last.
    """
    counted(steps)
    return explicit([*(sigma_at(first + (last - first) * i / steps) for i in range(steps)), 0.0])


def trailing(table: Sequence[float], steps: int) -> tuple[float, ...]:
    """Pick steps levels of a discrete model's ascending table, from its last entry down in even strides, then 0.

    Entry round(T·(1 - i/steps)) - 1 of T for i = 0 .. steps - 1: the noisiest level is always the first.
    Source: Lin et al. 2024 (common diffusion noise schedules are flawed), table 2, `trailing`.
    Raises Refusal when the table holds fewer than `steps` levels or does not ascend.
    """
    counted(steps)
    if steps > len(table):
        raise Refusal(f"steps {steps}: the table holds {len(table)} levels, so from 1 to {len(table)}")
    return explicit([*(table[round(len(table) * (1 - i / steps)) - 1] for i in range(steps)), 0.0])


def explicit(levels: Iterable[float]) -> tuple[float, ...]:
    """Check a list of levels and return it: at least two, strictly descending, none negative, inf only as the first.

    Raises Refusal that names the first level at fault.
    """
    grid = sane(levels)
    for i in range(1, len(grid)):
        if grid[i] >= grid[i - 1]:
            raise Refusal(f"grid[{i}] is {grid[i]:g}: a grid descends, and grid[{i - 1}] is {grid[i - 1]:g}")
    return grid


def sane(levels: Iterable[float]) -> tuple[float, ...]:
    """Check what any grid must fulfil, one that rises too: at least two levels in [0, inf], no repeats, 0 only last.

    Raises Refusal that names the first level at fault; above 1e16 a level is no different from inf.
    """
    try:
        grid = tuple(float(level) for level in levels)
    except (TypeError, ValueError) as fault:
        raise Refusal(f"grid {levels!r}: a list of numbers, each a level of sigma from 0 to inf") from fault
    if len(grid) < 2:
        raise Refusal(f"grid {list(grid)}: at least 2 levels, where to start and where to end")
    for i, level in enumerate(grid):
        if not level >= 0:
            raise Refusal(f"grid[{i}] is {level:g}: a level is a number from 0 to inf")
        if level == 0 and i < len(grid) - 1:
            raise Refusal(f"grid[{i}] is 0: nothing is left to remove there, so 0 is only the last level")
        if i and place(level) == place(grid[i - 1]):
            raise Refusal(f"grid[{i}] is {level:g}: that is no step from grid[{i - 1}], which is {grid[i - 1]:g}")
    return grid


def spaced(steps: int, top: float, bottom: float) -> list[float]:
    """Return `steps` even values from top to bottom, both included; one step is top alone."""
    return [top + (bottom - top) * i / max(steps - 1, 1) for i in range(steps)]


def counted(steps: int) -> None:
    """Refuse a number of steps that is not a whole number from 1 up."""
    if not isinstance(steps, int) or steps < 1:
        raise Refusal(f"steps {steps!r}: a whole number from 1 up")


def positive(field: str, value: float) -> None:
    """Refuse a shape parameter that is not finite and greater than 0."""
    if not 0 < value < math.inf:
        raise Refusal(f"{field} {value!r}: a finite number above 0")


def ranged(steps: int, sigma_max: float, sigma_min: float) -> None:
    """Refuse a range of levels that is empty or upside down."""
    counted(steps)
    if not 0 <= sigma_min < sigma_max:
        raise Refusal(f"sigma_min {sigma_min!r}, sigma_max {sigma_max!r}: 0 <= sigma_min < sigma_max <= inf")


def bounded(name: str, steps: int, sigma_max: float, sigma_min: float) -> None:
    """Refuse what a grid in powers or logarithms cannot hold: sigma_max = inf or sigma_min = 0."""
    ranged(steps, sigma_max, sigma_min)
    if not (sigma_min > 0 and sigma_max < math.inf):
        raise Refusal(
            f"grid {name!r} from {sigma_max:g} to {sigma_min:g}: it needs a finite sigma_max and sigma_min above 0; "
            f"'flow' and 'angle' take any range"
        )
