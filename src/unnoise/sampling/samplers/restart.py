"""Grids that rise: add fresh noise up to a higher level, which needs no query, and descend again.

    up      x' = signal'/signal·x + sqrt(spread'^2 - (signal'/signal·spread)^2)·noise      the forward process

Restart rises a few times over an interval of levels in a run of an ODE sampler: the noise corrects earlier errors, and
every descent is as accurate as the ODE sampler. RePaint rises often and by little in a run of DDPM, so that the painted
part becomes consistent with the kept part. `finish_step` drops the memory of a sampler wherever the grid turns.

Order and queries are those of the sampler that descends; a rise has no query.
Source: Xu et al. 2023 (Restart sampling, arXiv 2306.14878), algorithm 1; Lugmayr et al. 2022 (RePaint, arXiv
2201.09865), algorithm 1 and figure 9.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from unnoise.errors import InputError, check_whole
from unnoise.sampling.level import V, renew, renewal, signal, spread
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.state import Sampler, State, finish_step, needed


@dataclass(frozen=True, slots=True)
class Restart:
    """Descend by an ODE sampler, and rise by noise wherever the grid does."""

    descent: Sampler[Any, Any] = field(default_factory=Heun)
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.descent.stochastic:
            raise InputError(
                f"descent {self.descent!r}: a deterministic sampler; RePaint rises between ancestral steps"
            )

    @property
    def order(self) -> int:
        """The order of the descent."""
        return self.descent.order

    @property
    def queries(self) -> int:
        """The queries of a step of the descent."""
        return self.descent.queries

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Continue as the descent does; where it ends below a rise, rise with fresh noise."""
        rising(state)
        fresh, after = needed(noise, self), self.descent.advance(state, prediction)
        if after.stage or after.done or after.step[0] > after.step[1]:
            return after
        here, there = after.step
        kept = signal(there) / signal(here)
        added = math.sqrt(spread(there) ** 2 - (kept * spread(here)) ** 2)
        return finish_step(after, kept * after.x + added * fresh)


@dataclass(frozen=True, slots=True)
class RePaint:
    """Descend by ancestral steps of DDPM, and rise by noise wherever the grid does; for `diffusion/inpainting.py`."""

    order: ClassVar[int] = 1
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[V], prediction: V, noise: V | None = None) -> State[V]:
        """Take a step down, and the rise after it if there is one: both renew noise, so together they need one draw.

        A step from sigma to sigma' leaves the share sigma'/sigma of the old noise, a rise to sigma'' the share
        sigma'/sigma'' of the rest.
        """
        rising(state)
        fresh, (here, low) = needed(noise, self), state.step
        after = finish_step(state, renew(state.x, prediction, fresh, here, low, renewal(here, low)))
        if after.done or after.step[0] > after.step[1]:
            return after
        high = after.step[1]
        left = low / here * low / high
        x = renew(state.x, prediction, fresh, here, high, math.sqrt(1.0 - left * left))
        return finish_step(after, x)


def rising(state: State[Any]) -> None:
    """Raise InputError where a run begins with a rise, or rises twice in a row: a rise is one step."""
    here, there = state.step
    if there > here:
        raise InputError(
            f"grid rises from {here:g} to {there:g} before it descends: a rise is one step, after a descent"
        )


def restarts(grid: Sequence[float], low: float, high: float, times: int = 1) -> tuple[float, ...]:
    """Return a grid that repeats its levels between low and high `times` more, rising from low to high in one step.

    The levels of the grid nearest to low and high are used. Raises InputError where they are the same level.
    """
    check_whole("times", times, 1, 1000)
    inner = range(len(grid) - 1)
    if not 0 < low < high < math.inf:
        raise InputError(f"low {low!r}, high {high!r}: 0 < low < high < inf, the levels of the interval to repeat")
    top = min(inner, key=lambda i: abs(math.log(grid[i]) - math.log(high)))
    bottom = min(inner, key=lambda i: abs(math.log(grid[i]) - math.log(low)))
    if top >= bottom:
        raise InputError(f"low {low:g}, high {high:g}: no step of the grid lies between them")
    return (*grid[: bottom + 1], *(tuple(grid[top : bottom + 1]) * times), *grid[bottom + 1 :])


def repaints(grid: Sequence[float], jump: int = 10, times: int = 10) -> tuple[float, ...]:
    """Return a grid that repeats every `jump` steps `times - 1` times.

    Source: Lugmayr et al. 2022 (RePaint), figure 9, with jump length and number of resamplings 10.
    """
    check_whole("jump", jump, 1, 1000)
    check_whole("times", times, 1, 1000)
    found = [grid[0]]
    for at in range(0, len(grid) - 1, jump):
        part = list(grid[at : at + jump + 1])
        again = times if part[-1] > 0 else 1
        found += part[1:] + (part * (again - 1))
    return tuple(found)
