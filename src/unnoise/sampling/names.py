"""Name the samplers and the grids: two closed tables, each name with what it is here.

A name is read without regard to case, and `_`, space and `++` are read as `-`, `-` and `pp`: "DPM++ 2M" is "dpmpp-2m".
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.errors import Refusal, nearest
from unnoise.sampling.choose import measured
from unnoise.sampling.grid import angle, exponential, flow_shift, karras, trailing, uniform_time
from unnoise.sampling.samplers.consistency import Consistency
from unnoise.sampling.samplers.ddim import DDIM, Ancestral
from unnoise.sampling.samplers.dpmpp import DPMpp2M, DPMpp3M, DPMppSDE
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.state import Sampler


@dataclass(frozen=True, slots=True)
class SamplerEntry:
    """Hold what a sampler's name builds and what it means."""

    make: Callable[[], Sampler[Any, Any]]
    means: str


@dataclass(frozen=True, slots=True)
class GridEntry:
    """Hold what a grid's name builds from (steps, sigma_max, sigma_min, **options), and what it means."""

    make: Callable[..., tuple[float, ...]]
    options: tuple[str, ...]
    means: str


SAMPLERS: Mapping[str, SamplerEntry] = {
    "ddim": SamplerEntry(DDIM, "DDIM without noise: order 1, one call a step"),
    "euler": SamplerEntry(DDIM, "the same step as ddim: in this frame they are one"),
    "ancestral": SamplerEntry(Ancestral, "DDIM with eta = 1: renews noise at every step"),
    "euler-ancestral": SamplerEntry(Ancestral, "the same step as ancestral: in this frame they are one"),
    "euler-a": SamplerEntry(Ancestral, "short for euler-ancestral"),
    "ddpm": SamplerEntry(Ancestral, "the same step as ancestral: DDPM on any grid"),
    "heun": SamplerEntry(Heun, "trapezoidal rule: order 2, two calls a step"),
    "dpmpp-2m": SamplerEntry(DPMpp2M, "DPM-Solver++ 2M: order 2, one call a step"),
    "dpmpp-3m": SamplerEntry(DPMpp3M, "DPM-Solver++ 3M with its last weight put right: order 3 once warm"),
    "dpmpp-2m-sde": SamplerEntry(DPMppSDE, "DPM-Solver++ 2M with ancestral noise"),
    "ipndm": SamplerEntry(IPNDM, "multistep, order 4 once warm, one call a step: the default above 12 calls"),
    "ipndm-3": SamplerEntry(lambda: IPNDM(order=3), "ipndm with 3 values: the default from 7 to 12 calls"),
    "ipndm-2": SamplerEntry(lambda: IPNDM(order=2), "ipndm with 2 values: the default up to 6 calls"),
    "consistency": SamplerEntry(Consistency, "jump and re-noise: for distilled consistency models only"),
    "lcm": SamplerEntry(Consistency, "the same step as consistency, as latent consistency models use it"),
}

GRIDS: Mapping[str, GridEntry] = {
    "default": GridEntry(measured, (), "flow with shift 2.5 and rho 2: what `default` takes, by measurement"),
    "karras": GridEntry(karras, ("rho",), "even in sigma^(1/rho), rho 7: finite sigma_max only"),
    "exponential": GridEntry(exponential, (), "even in log(sigma): finite sigma_max only"),
    "angle": GridEntry(angle, (), "even in atan(sigma)"),
    "flow": GridEntry(
        lambda steps, sigma_max, sigma_min, shift=1.0, rho=1.0: flow_shift(steps, shift, rho, sigma_max, sigma_min),
        ("shift", "rho"),
        "even in flow time, sigma = shift·t/(1 - t)",
    ),
    "uniform": GridEntry(
        lambda steps, sigma_max, sigma_min, sigma_at, first=1.0, last=0.0: within(
            uniform_time(steps, sigma_at, first, last), sigma_max, sigma_min
        ),
        ("sigma_at", "first", "last"),
        "even on the model's own clock, given as sigma_at(time)",
    ),
    "trailing": GridEntry(
        lambda steps, sigma_max, sigma_min, table: within(trailing(table, steps), sigma_max, sigma_min),
        ("table",),
        "even strides through a discrete model's table, its noisiest level first",
    ),
}


def sampler(name: str) -> Sampler[Any, Any]:
    """Build a sampler from one of its names; raises Refusal that lists the known names."""
    return SAMPLERS[known("sampler", name, SAMPLERS)].make()


def grid(
    name: str, steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0, **options: Any
) -> tuple[float, ...]:
    """Build a grid of steps + 1 levels by name; options are those of the entry, as rho, shift, table, sigma_at.

    Raises Refusal for an unknown name, an option that this grid does not take or lacks, and as the grid itself does.
    """
    entry = GRIDS[known("grid", name, GRIDS)]
    for option in options:
        if option not in entry.options:
            raise Refusal(f"grid {name!r} takes no {option}: its options are {', '.join(entry.options) or 'none'}")
    for option in ("table", "sigma_at"):
        if option in entry.options and option not in options:
            raise Refusal(f"grid {name!r} needs {option}")
    return entry.make(steps, sigma_max, sigma_min, **options)


def known(field: str, name: str, table: Mapping[str, object]) -> str:
    """Return the key of a table that a user's spelling means; raises Refusal that lists the keys."""
    key = name.strip().lower().replace("++", "pp").replace("_", "-").replace(" ", "-")
    if key not in table:
        raise Refusal(f"{field} {name!r} is unknown: {nearest(key, table)}")
    return key


def within(levels: tuple[float, ...], sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Return a grid whose asked levels lie in the model's range; raises Refusal that names the first outside it."""
    for i, level in enumerate(levels[:-1]):
        if not sigma_min * (1 - 1e-6) <= level <= sigma_max * (1 + 1e-6):  # a range may have been kept in float32
            raise Refusal(f"grid[{i}] is {level:g}: this model is defined from {sigma_min:g} to {sigma_max:g}")
    return levels
