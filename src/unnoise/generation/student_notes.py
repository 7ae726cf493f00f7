"""What is said about a request to a distilled model that goes beyond its training; `unnoise check` finds it too."""

import warnings
from collections.abc import Iterator

from unnoise.card import Card, Distilled, Setting
from unnoise.errors import CheckedWarning
from unnoise.generation.choose_sampler import sampler_of
from unnoise.generation.metadata import Settings
from unnoise.generation.request import Request


def check_student(request: Request, settings: Settings, card: Card) -> None:
    """Warn in one line each of steps, a sampler, levels and scales that a distilled model was not trained for."""
    if card.distilled is not None:
        for line in _lines(request, settings, card, card.distilled):
            warnings.warn(line, CheckedWarning, stacklevel=4)


def _lines(request: Request, settings: Settings, card: Card, distilled: Distilled) -> Iterator[str]:
    name, steps, trained = card.name, len(settings.levels) - 1, ", ".join(map(str, distilled.steps))
    own = next((one for one in card.advice.fitted if len(one.levels) == steps), None)
    if settings.strength is None and steps not in distilled.steps:
        yield f"steps {steps}: {name!r} was trained for {trained} steps; use one of them, or {distilled.teacher!r}"
    elif settings.strength is None and own is not None and not _as_trained(settings, own):
        options = {
            "sampler": request.sampling.sampler,
            "schedule": request.sampling.schedule,
            "resample": request.edit.resample,
        }
        given = " and ".join(f"{key} {value!r}" for key, value in options.items() if value is not None)
        yield f"{given}: {name!r} was trained with the sampler and the levels of its card; leave this out"
    scale, low, high = settings.distilled_guidance, *distilled.guidance_range
    if settings.guidance_scale != 1:
        yield (
            f"guidance_scale {settings.guidance_scale:g}: {name!r} predicts the guided image already; use 1"
            + ("" if scale is None else f", and distilled_guidance {low:g} to {high:g}")
        )
    if scale is not None and not low <= scale <= high:
        yield f"distilled_guidance {scale:g}: {name!r} was trained on {low:g} to {high:g}; use one of these"


def _as_trained(settings: Settings, own: Setting) -> bool:
    """Return whether a request runs the sampler and the levels of the card."""
    return settings.grid[1:] == own.levels and sampler_of(settings.sampler) == sampler_of(own.sampler)
