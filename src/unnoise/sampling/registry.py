"""Names of samplers and schedules: two closed tables.

Restart and RePaint have no name: they need grids that rise, from `restarts` and `repaints`.
Names are case-insensitive; `_`, space and `++` count as `-`, `-` and `pp`: "DPM++ 2M" is "dpmpp-2m".
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.errors import InputError, nearest
from unnoise.sampling.ays import aligned
from unnoise.sampling.defaults import measured
from unnoise.sampling.foreign import FACTS, equivalent, foreign, foreign_schedule
from unnoise.sampling.grid import (
    angle,
    beta_time,
    exponential,
    flow_shift,
    flux_shift,
    karras,
    leading,
    linear_quadratic,
    linspace,
    polyexponential,
    skipping,
    trailing,
    uniform_time,
)
from unnoise.sampling.samplers.ab import AB
from unnoise.sampling.samplers.abm import ABM
from unnoise.sampling.samplers.consistency import Consistency
from unnoise.sampling.samplers.ddim import DDIM, Ancestral
from unnoise.sampling.samplers.deis import DEIS
from unnoise.sampling.samplers.dpm import DPM2, DPMpp2S, DPMpp2SSDE
from unnoise.sampling.samplers.dpmpp import DPMpp2M, DPMpp3M, DPMpp3MSDE, DPMppSDE
from unnoise.sampling.samplers.edm import EDMHeun
from unnoise.sampling.samplers.gradient import GradientEstimation
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.samplers.lms import LMS
from unnoise.sampling.samplers.sa import SASolver
from unnoise.sampling.samplers.unipc import UniPC
from unnoise.sampling.state import Sampler


@dataclass(frozen=True, slots=True)
class SamplerEntry:
    """The constructor and the description of a named sampler."""

    make: Callable[[], Sampler[Any, Any]]
    means: str


@dataclass(frozen=True, slots=True)
class GridEntry:
    """The function of a named schedule, called with steps, sigma_max, sigma_min and options, and its description."""

    make: Callable[..., tuple[float, ...]]
    options: tuple[str, ...]
    means: str


SAMPLERS: Mapping[str, SamplerEntry] = {
    "ab": SamplerEntry(AB, "multistep in flow, order 2, bent axis: the default at 6 to 12 calls from a high sigma_max"),
    "ab-2": SamplerEntry(lambda: AB(2, rho=1.0), "multistep in flow, order 2: the default up to 5 calls"),
    "ab-4": SamplerEntry(lambda: AB(4, rho=1.0), "multistep in flow, order 4"),
    "ab-eps": SamplerEntry(lambda: AB(3, 2.0, "eps"), "multistep in eps, order 3, from a finite level"),
    "abm": SamplerEntry(ABM, "multistep in flow with a corrector, predictor of order 3: the default around 20 calls"),
    "abm-2": SamplerEntry(lambda: ABM(2, last=1), "abm with a predictor of order 2: the default around 12 calls"),
    "abm-2-damped": SamplerEntry(
        lambda: ABM(2, last=1, share=0.75), "abm-2 with 3/4 of each correction: the default around 8 calls"
    ),
    "abm-4": SamplerEntry(lambda: ABM(4), "abm with a predictor of order 4: the default for many calls"),
    "ddim": SamplerEntry(DDIM, "DDIM without noise: order 1, one call a step"),
    "euler": SamplerEntry(DDIM, "the same step as ddim: in this frame they are one"),
    "ancestral": SamplerEntry(Ancestral, "DDIM with eta = 1: renews noise at every step"),
    "euler-ancestral": SamplerEntry(Ancestral, "the same step as ancestral: in this frame they are one"),
    "euler-a": SamplerEntry(Ancestral, "short for euler-ancestral"),
    "ddpm": SamplerEntry(Ancestral, "the same step as ancestral: DDPM on any grid"),
    "heun": SamplerEntry(Heun, "trapezoidal rule: order 2, two calls a step"),
    "edm": SamplerEntry(EDMHeun, "EDM's Heun with churn 40, from a finite level: two calls a step"),
    "dpm-2": SamplerEntry(DPM2, "DPM-Solver-2, midpoint in log(sigma): order 2, two calls a step"),
    "dpmpp-2s": SamplerEntry(DPMpp2S, "DPM-Solver++ 2S, midpoint in log(sigma): order 2, two calls a step"),
    "dpmpp-2s-sde": SamplerEntry(DPMpp2SSDE, "DPM-Solver++ 2S with ancestral noise: two calls a step"),
    "dpmpp-2m": SamplerEntry(DPMpp2M, "DPM-Solver++ 2M: order 2, one call a step"),
    "dpmpp-3m": SamplerEntry(DPMpp3M, "DPM-Solver++ 3M with its last weight corrected: order 3 once warm"),
    "dpmpp-2m-sde": SamplerEntry(DPMppSDE, "DPM-Solver++ 2M with ancestral noise"),
    "dpmpp-3m-sde": SamplerEntry(DPMpp3MSDE, "DPM-Solver++ 3M with ancestral noise"),
    "unipc": SamplerEntry(UniPC, "predictor of order 2, corrector of order 3, one call a step"),
    "unipc-3": SamplerEntry(lambda: UniPC(predictor=3), "unipc with a predictor of order 3"),
    "deis": SamplerEntry(DEIS, "multistep in eps, order 3 once warm, one call a step"),
    "lms": SamplerEntry(LMS, "multistep along sigma, order 4 once warm, from a finite level"),
    "sa-solver": SamplerEntry(SASolver, "stochastic Adams, predictor 2 and corrector 3, noise as DDPM has it"),
    "gradient-estimation": SamplerEntry(GradientEstimation, "DDIM with eps extrapolated from the last step, gamma 2"),
    "ipndm": SamplerEntry(IPNDM, "multistep, order 4 once warm, one call a step"),
    "ipndm-3": SamplerEntry(lambda: IPNDM(order=3), "ipndm with 3 values"),
    "ipndm-2": SamplerEntry(lambda: IPNDM(order=2), "ipndm with 2 values"),
    "consistency": SamplerEntry(Consistency, "jump and re-noise: for distilled consistency models only"),
    "lcm": SamplerEntry(Consistency, "the same step as consistency, as latent consistency models use it"),
}


def _ranged(make: Callable[..., tuple[float, ...]]) -> Callable[..., tuple[float, ...]]:
    """Add the range of a model to a schedule that has none; a level outside of the range is an error."""
    return lambda sigma_max, sigma_min, **how: within(make(**how), sigma_max, sigma_min)


def _published(family: str) -> GridEntry:
    means = f"levels optimised for {family.upper()} in ten steps, interpolated for other numbers"
    return GridEntry(lambda **how: aligned(family=family, **how), (), means)


GRIDS: Mapping[str, GridEntry] = {
    "default": GridEntry(measured, (), "flow with shift 3 and rho 2: measured to be the best of these"),
    "karras": GridEntry(karras, ("rho",), "even in sigma^(1/rho), rho 7: finite sigma_max only"),
    "exponential": GridEntry(exponential, (), "even in log(sigma): finite sigma_max only"),
    "polyexponential": GridEntry(polyexponential, ("rho",), "exponential with a power rho, 1: finite sigma_max only"),
    "angle": GridEntry(angle, (), "even in atan(sigma)"),
    "flow": GridEntry(flow_shift, ("shift", "rho"), "even in flow time, sigma = shift·t/(1 - t)"),
    "sd3": GridEntry(lambda **how: flow_shift(shift=3.0, **how), (), "flow with shift 3, as Stable Diffusion 3"),
    "flux": GridEntry(flux_shift, ("tokens",), "flow with shift 3.16, as FLUX for its 4096 tokens; tokens set it"),
    "linear-quadratic": GridEntry(
        linear_quadratic, ("threshold", "linear_steps"), "half of the steps on 1/40 of flow time, as Mochi"
    ),
    "uniform": GridEntry(
        _ranged(uniform_time), ("sigma_at", "first", "last"), "even in the model's own time, given as sigma_at(time)"
    ),
    "beta": GridEntry(
        _ranged(beta_time),
        ("sigma_at", "first", "last", "a", "b"),
        "quantiles of Beta(0.6, 0.6) in the model's own time: dense at both ends",
    ),
    "trailing": GridEntry(
        _ranged(trailing), ("table",), "even strides through a discrete model's table, its noisiest level first"
    ),
    "lcm": GridEntry(
        _ranged(skipping), ("table", "distilled"), "of the 50 levels that latent consistency models were distilled on"
    ),
    "linspace": GridEntry(_ranged(linspace), ("table",), "from the last to the first of a discrete model's table"),
    "leading": GridEntry(
        _ranged(leading),
        ("table", "offset"),
        "whole strides through a discrete model's table; starts below its noisiest level, an error from pure noise",
    ),
    "ays-sd15": _published("sd15"),
    "ays-sdxl": _published("sdxl"),
    "ays-svd": _published("svd"),
}


def sampler(name: str) -> Sampler[Any, Any]:
    """Build a sampler from one of its names; raises InputError that lists the known names."""
    return SAMPLERS[known("sampler", name, SAMPLERS)].make()


def grid(
    name: str, steps: int, sigma_max: float = math.inf, sigma_min: float = 0.0, **options: Any
) -> tuple[float, ...]:
    """Build a grid of steps + 1 levels from the name of a schedule and its options, as rho, shift, table or sigma_at.

    Raises InputError for an unknown name, an option that is missing or not of this schedule, or a wrong value.
    """
    entry = GRIDS[known("grid", name, GRIDS)]
    for option in options:
        if option not in entry.options:
            raise InputError(
                f"schedule {name!r} takes no {option}: its options are {', '.join(entry.options) or 'none'}"
            )
    for option in ("table", "sigma_at"):
        if option in entry.options and option not in options:
            raise InputError(f"schedule {name!r} needs {option}")
    return entry.make(steps=steps, sigma_max=sigma_max, sigma_min=sigma_min, **options)


def known(field: str, name: str, table: Mapping[str, object]) -> str:
    """Return the key of a table for any spelling of a name; raises InputError that lists the keys."""
    key = name.strip().lower().replace("++", "pp").replace("_", "-").replace(" ", "-")
    if key not in table:
        raise InputError(f"{field} {name!r} is unknown: {nearest(key, table)}")
    return key


def within(levels: tuple[float, ...], sigma_max: float, sigma_min: float) -> tuple[float, ...]:
    """Return a grid. Raises InputError if a level other than the last is outside of the model's range."""
    for i, level in enumerate(levels[:-1]):
        if not sigma_min * (1 - 1e-6) <= level <= sigma_max * (1 + 1e-6):  # a range may have been kept in float32
            raise InputError(f"grid[{i}] is {level:g}: this model is defined from {sigma_min:g} to {sigma_max:g}")
    return levels


def resolve_name(text: str) -> tuple[str, str | None]:
    """Find the sampler, and the schedule if one is named, that a text means in the words of any program.

    Args:
        text: a name of diffusers, AUTOMATIC1111, ComfyUI, InvokeAI, sd-scripts or of this program, such as
            "DPM++ 2M Karras", "dpmpp_2m", "DPMSolverMultistepScheduler" or "euler-a"

    Returns:
        the key in `SAMPLERS`, and the key in `GRIDS` or None

    Raises:
        InputError: the name is unknown, or that of a method that is not here; the message names the nearest
    """
    try:
        return known("sampler", text, SAMPLERS), None
    except InputError as error:
        unknown = error
    found = equivalent(text)
    if found is not None and found[0] in SAMPLERS:
        return found
    kin = foreign(text)
    if kin is None:
        raise unknown
    near = FACTS[kin[0]].near or kin[0]
    raise InputError(
        f"sampler {text[:80]!r} is of another program and has no counterpart here: the nearest is {near!r}"
    )


def resolve_schedule(text: str) -> str:
    """Return the key in `GRIDS` of a schedule in the words of any program, such as "Karras" or "sgm_uniform".

    Raises:
        InputError: the name is unknown; the message lists the names here.
    """
    try:
        return known("schedule", text, GRIDS)
    except InputError:
        found = foreign_schedule(text)
        if found is None or found not in GRIDS:
            raise
        return found
