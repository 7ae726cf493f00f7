"""Choose sampler and noise levels of a request: what was asked for, the card's advice, the best for the budget."""

import warnings
from functools import cache
from typing import Any

from unnoise.card import Advice, Card, Part, Setting
from unnoise.diffusion.levels import named_schedule, start_level
from unnoise.diffusion.process import Process
from unnoise.errors import InputError, InputWarning, nearest
from unnoise.generation.job import AnySampler
from unnoise.generation.request import Request
from unnoise.sampling import defaults, registry
from unnoise.sampling.grid import explicit
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.samplers.restart import RePaint


def route(
    request: Request,
    card: Card,
    process: Process,
    strength: float | None = None,
    size: tuple[int, int] | None = None,
    guided: bool = True,
) -> tuple[AnySampler, tuple[float, ...]]:
    """Choose sampler and levels.

    A schedule fitted to this number of steps comes first, unless a sampler or schedule is asked for. Explicit levels of
    the card give way to another number of steps. Where only the sampler's name implies a schedule, as "DPM++ 2M Karras"
    does, and the model cannot use it, a warning says so and the default schedule is used.
    """
    options, advice = request.sampling, card.advice
    ends = start_level(strength, process), process.sigma_min
    setting = _fitted(request, advice, strength)
    if setting is not None:
        return sampler_of(setting.sampler, "card"), registry.within(explicit((ends[0], *setting.levels)), *ends)
    named, spacing = named_sampler(options.sampler, options.schedule)
    wanted = advice.sampler if named is None else named
    schedule = advice.schedule if spacing is None else spacing
    if isinstance(schedule, tuple) and options.steps in (None, len(schedule) - 1):
        best, grid = defaults.default(len(schedule) - 1, *ends, guided)[0], registry.within(explicit(schedule), *ends)
    else:
        steps = options.steps or advice.steps
        best, grid = defaults.default(steps, *ends, guided)
        if isinstance(schedule, str) or wanted is not None:
            name = schedule if isinstance(schedule, str) else "default"
            implied = options.schedule is None and spacing is not None
            own = own_options(card, size)
            if name == "karras" and advice.rho is not None:
                own["rho"] = advice.rho
            try:
                grid = named_schedule(name, steps, process, ends[0], **own)
            except InputError as error:
                if not implied:
                    raise
                warnings.warn(f"sampler {options.sampler!r}: {error}; default is used", InputWarning, stacklevel=2)
                grid = named_schedule("default", steps, process, ends[0], **own)
    return (best if wanted is None else registry.sampler(wanted) if isinstance(wanted, str) else wanted), grid


def own_options(card: Card, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the options of schedules that a model sets: its shift, and the tokens of FLUX (16x16 pixels each)."""
    own: dict[str, Any] = {} if card.advice.shift is None else {"shift": card.advice.shift}
    size = size or next(iter(card.advice.sizes), None)
    if card.family == "flux1" and size is not None:
        own["tokens"] = max(1, size[0] * size[1] // 256)
    return own


def named_sampler(
    sampler: str | AnySampler | None, schedule: str | tuple[float, ...] | None
) -> tuple[str | AnySampler | None, str | tuple[float, ...] | None]:
    """Translate names of other tools; a sampler's name may name a schedule, too, such as "DPM++ 2M Karras".

    Raises:
        InputError: the sampler's name and the schedule contradict each other.
    """
    if isinstance(schedule, str):
        schedule = registry.resolve_schedule(schedule)
    if not isinstance(sampler, str):
        return sampler, schedule
    key, spacing = registry.resolve_name(sampler)
    if spacing is not None and schedule not in (None, spacing):
        raise InputError(
            f"sampler {sampler!r}: names the schedule {spacing}, and schedule is {schedule!r}; give one of them"
        )
    return key, spacing if schedule is None else schedule


@cache
def classes() -> dict[str, Any]:
    """Name the classes of samplers."""
    found = {type(made).__name__: type(made) for made in (entry.make() for entry in registry.SAMPLERS.values())}
    return {**found, "Fitted": Fitted, "RePaint": RePaint}


def sampler_of(part: Part, where: str = "metadata") -> AnySampler:
    """Build the sampler that metadata or a card names. Raises InputError for an unknown class or its arguments."""
    known = classes()
    if part.class_ not in known:
        raise InputError(f"{where}: sampler {part.class_!r}: {nearest(part.class_, known)}")
    try:
        return known[part.class_](**part.args)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: sampler {part.class_}: {error}") from None


def _fitted(request: Request, advice: Advice, strength: float | None) -> Setting | None:
    """Find the card's schedule for this number of steps, where sampler and schedule are left open."""
    options = request.sampling
    chosen = (options.sampler, options.schedule, strength, request.edit.resample)
    if any(one is not None for one in chosen):
        return None
    steps = options.steps or advice.steps
    return next((setting for setting in advice.fitted if len(setting.levels) == steps), None)
