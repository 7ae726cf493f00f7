"""Choose the levels to visit: every grid is a tuple of steps + 1 levels of sigma that descends to 0."""

import math
from collections.abc import Callable, Iterable, Sequence

from unnoise.errors import InputError
from unnoise.sampling.beta import quantile
from unnoise.sampling.level import place


def karras(steps: int, sigma_max: float, sigma_min: float, rho: float = 7.0) -> tuple[float, ...]:
    """Space the levels evenly in sigma^(1/rho), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Karras et al. 2022 (EDM), eq. 5; rho = 7 is its choice (appendix D.1).
    Raises InputError for sigma_max = inf, which has no finite power.
    """
    bounded("karras", steps, sigma_max, sigma_min)
    positive("rho", rho)
    roots = spaced(steps, sigma_max ** (1 / rho), sigma_min ** (1 / rho))
    return (sigma_max, *(root**rho for root in roots[1:]), 0.0)


def exponential(steps: int, sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Space the levels evenly in log(sigma), from a finite sigma_max to sigma_min > 0, then 0.

    Source: Lu et al. 2022a (DPM-Solver), section 3.3: uniform log-SNR.
    Raises InputError for sigma_max = inf, whose logarithm is infinite.
    """
    bounded("exponential", steps, sigma_max, sigma_min)
    logs = spaced(steps, math.log(sigma_max), math.log(sigma_min))
    return (sigma_max, *(math.exp(value) for value in logs[1:]), 0.0)


def polyexponential(steps: int, sigma_max: float, sigma_min: float, rho: float = 1.0) -> tuple[float, ...]:
    """Space the levels in log(sigma) along r^rho, r even from 1 to 0, from a finite sigma_max to sigma_min > 0, then 0.

    sigma = sigma_min·(sigma_max/sigma_min)^(r^rho): rho 1 is `exponential`, rho > 1 dwells where there is little noise.
    Source: crowsonkb/k-diffusion, k_diffusion/sampling.py, get_sigmas_polyexponential; rho = 1 is its default.
    Raises InputError for sigma_max = inf, whose logarithm is infinite.
    """
    bounded("polyexponential", steps, sigma_max, sigma_min)
    positive("rho", rho)
    powers = [r**rho for r in spaced(steps, 1.0, 0.0)]
    return explicit((sigma_max, *(sigma_min * (sigma_max / sigma_min) ** power for power in powers[1:]), 0.0))


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


def flux_shift(
    steps: int, tokens: int = 4096, sigma_max: float = math.inf, sigma_min: float = 0.0
) -> tuple[float, ...]:
    """Space the levels as `flow_shift` does, with a shift that grows with the number of tokens of the picture.

    shift = e^mu, mu straight from 0.5 at 256 tokens through 1.15 at 4096, which FLUX has at 1024 x 1024 pixels.
    tokens: positions that the network attends to, without those of the text; FLUX has one for 16 x 16 pixels.
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
    """Spend the first L steps on a small stretch of flow time t, evenly, and the others on the rest, ever faster.

    t = 1 - threshold·i/L - bend·max(i - L, 0)^2 with the bend that ends in t = 0, and sigma = t/(1 - t).
    L: linear_steps, 1 to steps - 1, half of the steps if left out. Where the range ends before t = 1 or sigma_min is
    above the last question, the times are drawn together to fit; one step is sigma_max alone.
    Source: genmoai/mochi, src/genmo/mochi_preview/pipelines.py, `linear_quadratic_schedule`; 0.025 as its demos.
    Raises InputError for a threshold that leaves the last steps nothing to do.
    """
    ranged(steps, sigma_max, sigma_min)
    if not 0 < threshold < 1:
        raise InputError(f"threshold {threshold!r}: a number between 0 and 1, a stretch of flow time")
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
            f"threshold {threshold!r}: too high for {straight} of {steps} steps, the next ones would pass 0"
        )
    top = place(sigma_max)
    bottom = max(top * times[-1], place(sigma_min))
    scale = (top - bottom) / (1 - times[-1])
    fitted = [bottom + scale * (time - times[-1]) for time in times[1:]]
    return (sigma_max, *(time / (1 - time) for time in fitted), 0.0)


def uniform_time(
    steps: int, sigma_at: Callable[[float], float], first: float = 1.0, last: float = 0.0
) -> tuple[float, ...]:
    """Space the levels evenly on a model's own clock, whose level at a time is sigma_at(time), from first to last.

    `last` is the time that counts as clean: its level is not asked, it becomes 0.
    Raises InputError when sigma_at does not descend from first to last.
    """
    counted(steps)
    return explicit([*(sigma_at(first + (last - first) * i / steps) for i in range(steps)), 0.0])


def beta_time(
    steps: int,
    sigma_at: Callable[[float], float],
    first: float = 1.0,
    last: float = 0.0,
    a: float = 0.6,
    b: float = 0.6,
) -> tuple[float, ...]:
    """Space the levels by quantiles of Beta(a, b) on a model's own clock: dense at both ends where a, b < 1.

    Time i is last + (first - last)·Q(1 - i/steps), Q the quantile function; Beta(1, 1) is `uniform_time`.
    Times between the steps of a discrete clock are kept, where others round them and drop what then repeats.
    Source: Lee et al. 2024 (beta sampling is all you need, arXiv 2407.12173); a = b = 0.6 as ComfyUI's `beta`.
    Raises InputError when sigma_at does not descend from first to last.
    """
    counted(steps)
    times = (last + (first - last) * quantile((steps - i) / steps, a, b) for i in range(steps))
    return explicit([*map(sigma_at, times), 0.0])


def trailing(table: Sequence[float], steps: int) -> tuple[float, ...]:
    """Pick steps levels of a discrete model's ascending table, from its last entry down in even strides, then 0.

    Entry round(T·(1 - i/steps)) - 1 of T for i = 0 .. steps - 1: the noisiest level is always the first.
    Source: Lin et al. 2024 (common diffusion noise schedules are flawed), table 2, `trailing`.
    Raises InputError when the table holds fewer than `steps` levels or does not ascend.
    """
    strided(table, steps)
    return explicit([*(table[round(len(table) * (1 - i / steps)) - 1] for i in range(steps)), 0.0])


def leading(table: Sequence[float], steps: int, offset: int = 0) -> tuple[float, ...]:
    """Pick steps levels of a discrete model's ascending table, from its first entry up in whole strides, then 0.

    Entry offset + i·floor(T/steps) of T for i = steps - 1 .. 0. It does not start at the noisiest level: of 1000 levels
    ten steps begin at the 901st, where a picture still shows through. A run from pure noise on it is one of the field's
    silent faults, as the model meets less picture than it was trained to see there; take `trailing` for that.
    offset: 0 is the source's; files of Stable Diffusion carry 1 (`steps_offset`).
    Source: Lin et al. 2024, table 2, `leading`, and section 3.3 for the fault.
    Raises InputError when the table holds fewer than `steps` levels, ends before the last stride, or does not ascend.
    """
    strided(table, steps)
    stride = len(table) // steps
    spare = len(table) - 1 - stride * (steps - 1)
    if not isinstance(offset, int) or not 0 <= offset <= spare:
        raise InputError(f"offset {offset!r}: a whole number from 0 to {spare} for {steps} of {len(table)} levels")
    return explicit([*(table[offset + i * stride] for i in reversed(range(steps))), 0.0])


def skipping(table: Sequence[float], steps: int, distilled: int = 50) -> tuple[float, ...]:
    """Pick steps of the levels of a discrete model's table that a consistency model was distilled on, then 0.

    Entry k·(distilled - floor(i·distilled/steps)) of T for i = 0 .. steps - 1, k = floor(T/distilled).
    Source: Luo et al. 2023 (LCM), section 4.3; luosiallen/latent-consistency-model, lcm_scheduler.py.
    Raises InputError for more steps than were distilled, and as `trailing` does.
    """
    strided(table, steps)
    if not isinstance(distilled, int) or not steps <= distilled <= len(table):
        raise InputError(f"steps {steps}: the levels of the distillation are {distilled!r}, so from 1 to {distilled!r}")
    stride = len(table) // distilled
    return explicit([*(table[stride * (distilled - i * distilled // steps) - 1] for i in range(steps)), 0.0])


def linspace(table: Sequence[float], steps: int) -> tuple[float, ...]:
    """Pick steps levels of a discrete model's ascending table, evenly from its last entry to its first, then 0.

    Entry round(1 + (T - 1)·i/(steps - 1)) of 1 .. T for i = steps - 1 .. 0; one step is the last entry alone.
    Source: Lin et al. 2024, table 2, `linspace`.
    Raises InputError when the table holds fewer than `steps` levels or does not ascend.
    """
    strided(table, steps)
    return explicit([*(table[round(entry) - 1] for entry in spaced(steps, float(len(table)), 1.0)), 0.0])


def explicit(levels: Iterable[float]) -> tuple[float, ...]:
    """Check a list of levels and return it: at least two, strictly descending, none negative, inf only as the first.

    Raises InputError that names the first level at fault.
    """
    grid = sane(levels)
    for i in range(1, len(grid)):
        if grid[i] >= grid[i - 1]:
            raise InputError(f"grid[{i}] is {grid[i]:g}: a grid descends, and grid[{i - 1}] is {grid[i - 1]:g}")
    return grid


def sane(levels: Iterable[float]) -> tuple[float, ...]:
    """Check what any grid must fulfil, one that rises too: at least two levels in [0, inf], no repeats, 0 only last.

    Raises InputError that names the first level at fault; above 1e16 a level is no different from inf.
    """
    try:
        grid = tuple(float(level) for level in levels)
    except (TypeError, ValueError) as fault:
        raise InputError(f"grid {levels!r}: a list of numbers, each a level of sigma from 0 to inf") from fault
    if len(grid) < 2:
        raise InputError(f"grid {list(grid)}: at least 2 levels, where to start and where to end")
    for i, level in enumerate(grid):
        if not level >= 0:
            raise InputError(f"grid[{i}] is {level:g}: a level is a number from 0 to inf")
        if level == 0 and i < len(grid) - 1:
            raise InputError(f"grid[{i}] is 0: nothing is left to remove there, so 0 is only the last level")
        if i and place(level) == place(grid[i - 1]):
            raise InputError(f"grid[{i}] is {level:g}: that is no step from grid[{i - 1}], which is {grid[i - 1]:g}")
    return grid


def spaced(steps: int, top: float, bottom: float) -> list[float]:
    """Return `steps` even values from top to bottom, both included; one step is top alone."""
    return [top + (bottom - top) * i / max(steps - 1, 1) for i in range(steps)]


def counted(steps: int) -> None:
    """Refuse a number of steps that is not a whole number from 1 up."""
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps {steps!r}: a whole number from 1 up")


def strided(table: Sequence[float], steps: int) -> None:
    """Refuse a number of steps that a discrete model's table cannot give."""
    counted(steps)
    if steps > len(table):
        raise InputError(f"steps {steps}: the table holds {len(table)} levels, so from 1 to {len(table)}")


def positive(field: str, value: float) -> None:
    """Refuse a shape parameter that is not finite and greater than 0."""
    if not 0 < value < math.inf:
        raise InputError(f"{field} {value!r}: a finite number above 0")


def ranged(steps: int, sigma_max: float, sigma_min: float) -> None:
    """Refuse a range of levels that is empty or upside down."""
    counted(steps)
    if not 0 <= sigma_min < sigma_max:
        raise InputError(f"sigma_min {sigma_min!r}, sigma_max {sigma_max!r}: 0 <= sigma_min < sigma_max <= inf")


def bounded(name: str, steps: int, sigma_max: float, sigma_min: float) -> None:
    """Refuse what a grid in powers or logarithms cannot hold: sigma_max = inf or sigma_min = 0."""
    ranged(steps, sigma_max, sigma_min)
    if not (sigma_min > 0 and sigma_max < math.inf):
        raise InputError(
            f"grid {name!r} from {sigma_max:g} to {sigma_min:g}: it needs a finite sigma_max and sigma_min above 0; "
            f"'flow' and 'angle' take any range"
        )
