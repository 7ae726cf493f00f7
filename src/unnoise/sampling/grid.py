"""Schedules: each function returns a grid, which is a tuple of steps + 1 noise levels that descends to 0.

Arguments that the functions share:
    steps: number of steps, from 1 up.
    sigma_max: the first level, in (0, inf].
    sigma_min: the lowest level at which the network is evaluated, in [0, sigma_max).
    table: levels of a discrete model, ascending, at least `steps` of them.
An argument out of its range raises InputError.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from unnoise.errors import InputError
from unnoise.sampling.beta import quantile
from unnoise.sampling.level import place


def karras(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> tuple[float, ...]:
    """Space the levels evenly in sigma^(1/rho), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Karras et al. 2022 (EDM), eq. 5; rho = 7 from appendix D.1.
    """
    check_finite_range("karras", steps, sigma_max, sigma_min)
    check_positive("rho", rho)
    roots = spaced(steps, sigma_max ** (1 / rho), sigma_min ** (1 / rho))
    return (sigma_max, *(root**rho for root in roots[1:]), 0.0)


def exponential(steps: int, sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Space the levels evenly in log(sigma), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Lu et al. 2022a (DPM-Solver), section 3.3: uniform log-SNR.
    """
    check_finite_range("exponential", steps, sigma_max, sigma_min)
    logs = spaced(steps, math.log(sigma_max), math.log(sigma_min))
    return (sigma_max, *(math.exp(value) for value in logs[1:]), 0.0)


def polyexponential(steps: int, sigma_max: float, sigma_min: float, rho: float = 1.0) -> tuple[float, ...]:
    """Space the levels as sigma_min·(sigma_max/sigma_min)^(r^rho), r even from 1 to 0, then 0.

    Args:
        rho: above 0; 1 gives `exponential`, more gives more levels at low noise.

    Source: crowsonkb/k-diffusion, k_diffusion/sampling.py, get_sigmas_polyexponential; rho = 1 is its default.
    """
    check_finite_range("polyexponential", steps, sigma_max, sigma_min)
    check_positive("rho", rho)
    powers = [r**rho for r in spaced(steps, 1.0, 0.0)]
    return explicit((sigma_max, *(sigma_min * (sigma_max / sigma_min) ** power for power in powers[1:]), 0.0))


def angle(steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0) -> tuple[float, ...]:
    """Space the levels evenly in atan(sigma), the angle between signal and spread, as cosine schedules do.

    Source: Salimans & Ho 2022 (progressive distillation), appendix D, the angle of v.
    """
    check_range(steps, sigma_max, sigma_min)
    top = math.atan(sigma_max)
    angles = spaced(steps, top, max(top / steps, math.atan(sigma_min)))
    return (sigma_max, *(math.tan(value) for value in angles[1:]), 0.0)


def flow_shift(
    steps: int, shift: float = 1.0, rho: float = 1.0, sigma_max: float = math.inf, sigma_min: float = 0.0
) -> tuple[float, ...]:
    """Space the levels evenly in t^(1/rho) of flow time t, with sigma = shift·t/(1 - t).

    Args:
        shift: above 0; more than 1 gives more levels at high noise.
        rho: above 0; more than 1 gives more levels at low noise.

    Source: Esser et al. 2024 (Stable Diffusion 3), eq. 23: t' = shift·t/(1 + (shift - 1)·t) with sigma = t'/(1 - t').
    """
    check_range(steps, sigma_max, sigma_min)
    check_positive("shift", shift)
    check_positive("rho", rho)

    def root(sigma: float) -> float:
        return (1.0 if math.isinf(sigma) else sigma / (shift + sigma)) ** (1 / rho)

    times = [value**rho for value in spaced(steps, root(sigma_max), max(root(sigma_max) / steps, root(sigma_min)))]
    return (sigma_max, *(shift * time / (1.0 - time) for time in times[1:]), 0.0)


def flux_shift(
    steps: int, tokens: int = 4096, sigma_max: float = math.inf, sigma_min: float = 0.0
) -> tuple[float, ...]:
    """Space the levels as `flow_shift` with shift = e^mu; mu is linear from 0.5 at 256 tokens to 1.15 at 4096.

    Args:
        tokens: image tokens, from 1 up; FLUX has one for 16 x 16 pixels, so 4096 at 1024 x 1024.

    Source: black-forest-labs/flux, src/flux/sampling.py, get_schedule with its defaults.
    """
    if not isinstance(tokens, int) or tokens < 1:
        raise InputError(f"tokens {tokens!r}: a whole number from 1 up")
    mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
    return flow_shift(steps, math.exp(mu), 1.0, sigma_max, sigma_min)


def linear_quadratic(
    steps: int,
    sigma_max: float = math.inf,
    sigma_min: float = 0.0,
    threshold: float = 0.025,
    linear_steps: int | None = None,
) -> tuple[float, ...]:
    """Space L steps evenly over a short stretch of flow time t, and the rest quadratically, with growing steps.

    t = 1 - threshold·i/L - bend·max(i - L, 0)^2 with the bend that ends in t = 0, and sigma = t/(1 - t). Times are
    rescaled linearly to fit sigma_max and sigma_min. One step is sigma_max alone.

    Args:
        threshold: flow time that the linear steps cover, between 0 and 1; too high a value leaves no time for the rest.
        linear_steps: L, from 1 to steps - 1; None is half of the steps.

    Source: genmoai/mochi, src/genmo/mochi_preview/pipelines.py, `linear_quadratic_schedule`; 0.025 as its demos.
    """
    check_range(steps, sigma_max, sigma_min)
    if not 0 < threshold < 1:
        raise InputError(f"threshold {threshold!r}: a number between 0 and 1, in flow time")
    if linear_steps is not None and not (isinstance(linear_steps, int) and 1 <= linear_steps < steps):
        raise InputError(
            f"linear_steps {linear_steps!r}: a whole number from 1 to {steps - 1}, one less than the steps"
        )
    if steps == 1:
        return (sigma_max, 0.0)
    straight = linear_steps or steps // 2
    bend = (1 - threshold * steps / straight) / (steps - straight) ** 2
    times = [1 - threshold * i / straight - bend * max(i - straight, 0) ** 2 for i in range(steps)]
    if times[-1] <= 0:
        raise InputError(
            f"threshold {threshold!r}: too high for {straight} of {steps} steps, later times would be below 0; lower it"
        )
    top = place(sigma_max)
    bottom = max(top * times[-1], place(sigma_min))
    scale = (top - bottom) / (1 - times[-1])
    fitted = [bottom + scale * (time - times[-1]) for time in times[1:]]
    return (sigma_max, *(time / (1 - time) for time in fitted), 0.0)


def uniform_time(
    steps: int, sigma_at: Callable[[float], float], first: float = 1.0, last: float = 0.0
) -> tuple[float, ...]:
    """Space the levels evenly in a model's own time.

    Args:
        sigma_at: time -> level; descends from first to last.
        first: the time of the first level.
        last: the time of clean data, whose level is set to 0.
    """
    check_steps(steps)
    return explicit([*(sigma_at(first + (last - first) * i / steps) for i in range(steps)), 0.0])


def beta_time(
    steps: int,
    sigma_at: Callable[[float], float],
    first: float = 1.0,
    last: float = 0.0,
    a: float = 0.6,
    b: float = 0.6,
) -> tuple[float, ...]:
    """Space the levels by quantiles of Beta(a, b) in a model's own time: dense at both ends where a, b < 1.

    Time i is last + (first - last)·Q(1 - i/steps), Q the quantile function; Beta(1, 1) is `uniform_time`. Times are
    not rounded to the steps of a discrete model, as ComfyUI does. sigma_at, first and last: as for `uniform_time`.

    Source: Lee et al. 2024 (beta sampling is all you need, arXiv 2407.12173); a = b = 0.6 as ComfyUI's `beta`.
    """
    check_steps(steps)
    times = (last + (first - last) * quantile((steps - i) / steps, a, b) for i in range(steps))
    return explicit([*map(sigma_at, times), 0.0])


def trailing(table: Sequence[float], steps: int) -> tuple[float, ...]:
    """Take levels of a table in even strides from its last entry down, then 0; the first level is the noisiest.

    Entry round(T·(1 - i/steps)) - 1 of T for i = 0 .. steps - 1.
    Source: Lin et al. 2024 (common diffusion noise schedules are flawed), table 2, `trailing`.
    """
    check_table(table, steps)
    return explicit([*(table[round(len(table) * (1 - i / steps)) - 1] for i in range(steps)), 0.0])


def leading(table: Sequence[float], steps: int, offset: int = 0) -> tuple[float, ...]:
    """Take levels of a table in whole strides from its first entry up, then 0.

    Entry offset + i·floor(T/steps) of T for i = steps - 1 .. 0. The first level is not the noisiest one: with 1000
    levels and ten steps it is the 901st, whose x still contains some of the image in training. A run that starts there
    from pure noise gives a silent error; use `trailing` instead.

    Args:
        offset: 0 in the paper, 1 in the files of Stable Diffusion (`steps_offset`).

    Source: Lin et al. 2024, table 2, `leading`, and section 3.3 for the error.
    """
    check_table(table, steps)
    stride = len(table) // steps
    spare = len(table) - 1 - stride * (steps - 1)
    if not isinstance(offset, int) or not 0 <= offset <= spare:
        raise InputError(f"offset {offset!r}: a whole number from 0 to {spare} for {steps} of {len(table)} levels")
    return explicit([*(table[offset + i * stride] for i in reversed(range(steps))), 0.0])


def skipping(table: Sequence[float], steps: int, distilled: int = 50) -> tuple[float, ...]:
    """Take levels of a table from those that a consistency model was distilled on, then 0.

    Entry k·(distilled - floor(i·distilled/steps)) of T for i = 0 .. steps - 1, k = floor(T/distilled).

    Args:
        distilled: number of levels of the distillation, from `steps` to T.

    Source: huggingface/diffusers, scheduling_lcm.py, set_timesteps: times 999, 759, 499, 259 for 4 of 50. Strides in
    luosiallen/latent-consistency-model, lcm_scheduler.py, are floor(50/steps), so it has 999, 759, 519, 279.
    """
    check_table(table, steps)
    if not isinstance(distilled, int) or not steps <= distilled <= len(table):
        raise InputError(
            f"steps {steps}: from 1 to the number of levels of the distillation, {distilled!r} of {len(table)}"
        )
    stride = len(table) // distilled
    return explicit([*(table[stride * (distilled - i * distilled // steps) - 1] for i in range(steps)), 0.0])


def linspace(table: Sequence[float], steps: int) -> tuple[float, ...]:
    """Take levels of a table evenly from its last entry to its first, then 0.

    Entry round(1 + (T - 1)·i/(steps - 1)) of 1 .. T for i = steps - 1 .. 0; one step is the last entry alone.
    Source: Lin et al. 2024, table 2, `linspace`.
    """
    check_table(table, steps)
    return explicit([*(table[round(entry) - 1] for entry in spaced(steps, float(len(table)), 1.0)), 0.0])


def explicit(levels: Iterable[float]) -> tuple[float, ...]:
    """Return a list of levels as a grid. Raises InputError unless it strictly descends and `check_grid` accepts it."""
    grid = check_grid(levels)
    for i in range(1, len(grid)):
        if grid[i] >= grid[i - 1]:
            raise InputError(f"grid[{i}] is {grid[i]:g}: a grid descends, and grid[{i - 1}] is {grid[i - 1]:g}")
    return grid


def check_grid(levels: Iterable[float]) -> tuple[float, ...]:
    """Return a list of levels as a grid, which may rise: at least two levels in [0, inf], no repeats, 0 only last.

    Levels above 1e16 count as inf. Raises InputError that names the first level that is not allowed.
    """
    try:
        grid = tuple(float(level) for level in levels)
    except (TypeError, ValueError) as fault:
        raise InputError(f"grid {levels!r}: a list of numbers, each a level of sigma from 0 to inf") from fault
    if len(grid) < 2:
        raise InputError(f"grid {list(grid)}: at least 2 levels, the first and the last of the run")
    for i, level in enumerate(grid):
        if not level >= 0:
            raise InputError(f"grid[{i}] is {level:g}: a level is a number from 0 to inf")
        if level == 0 and i < len(grid) - 1:
            raise InputError(f"grid[{i}] is 0: only the last level may be 0, since no noise is left there")
        if i and place(level) == place(grid[i - 1]):
            raise InputError(f"grid[{i}] is {level:g}: must differ from grid[{i - 1}], which is {grid[i - 1]:g}")
    return grid


def spaced(steps: int, top: float, bottom: float) -> list[float]:
    """Return `steps` even values from top to bottom, both included; one step is top alone."""
    return [top + (bottom - top) * i / max(steps - 1, 1) for i in range(steps)]


def check_steps(steps: int) -> None:
    """Raise InputError unless steps is a whole number from 1 up."""
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps {steps!r}: a whole number from 1 up")


def check_table(table: Sequence[float], steps: int) -> None:
    """Raise InputError unless steps is a whole number from 1 to the length of the table."""
    check_steps(steps)
    if steps > len(table):
        raise InputError(f"steps {steps}: from 1 to {len(table)}, the number of levels of the table")


def check_positive(field: str, value: float) -> None:
    """Raise InputError unless a parameter is finite and above 0."""
    if not 0 < value < math.inf:
        raise InputError(f"{field} {value!r}: a finite number above 0")


def check_range(steps: int, sigma_max: float, sigma_min: float) -> None:
    """Raise InputError unless steps is allowed and 0 <= sigma_min < sigma_max."""
    check_steps(steps)
    if not 0 <= sigma_min < sigma_max:
        raise InputError(f"sigma_min {sigma_min!r}, sigma_max {sigma_max!r}: 0 <= sigma_min < sigma_max <= inf")


def check_finite_range(name: str, steps: int, sigma_max: float, sigma_min: float) -> None:
    """Raise InputError unless the range is allowed, sigma_max finite and sigma_min above 0."""
    check_range(steps, sigma_max, sigma_min)
    if not (sigma_min > 0 and sigma_max < math.inf):
        raise InputError(
            f"schedule {name!r} from {sigma_max:g} to {sigma_min:g}: needs a finite sigma_max and sigma_min above 0; "
            f"use 'flow' or 'angle', which take any range"
        )
