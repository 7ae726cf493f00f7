"""What a request comes to on one model: each choice that was left open is made, by the card or by the library."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

import torch

from unnoise.diffusion.process import VP, Process, Table
from unnoise.errors import Refusal, check_whole, nearest
from unnoise.files.card import Advice, Card, Part, Setting
from unnoise.files.request import (
    AREA,
    GUIDANCE,
    STEPS,
    TOTAL,
    Request,
    check_levels,
    check_number,
    check_size,
)
from unnoise.sampling import choose, names
from unnoise.sampling.grid import explicit
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.state import Sampler

AnySampler = Sampler[Any, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold every choice, as `Request` describes them. weight 1 leaves the unconditional model unasked."""

    sampler: AnySampler
    grid: tuple[float, ...]
    weight: float
    between: tuple[float, float]
    rescale: float
    negative: str
    size: tuple[int, int]
    dtype: Literal["float32", "bfloat16"]


def decide(request: Request, card: Card, process: Process, factor: int) -> Plan:
    """Make every choice: what was asked, else what the card advises, else the library's best.

    factor: pixels that both sides must be a multiple of. Raises Refusal where the model cannot do what is asked.
    """
    advice = card.advice
    _check(advice)
    weight = advice.guidance if request.weight is None else request.weight
    if card.text is None:
        if any(request.prompts) or request.weight not in (None, 1):
            raise Refusal(f"prompt: {card.name!r} is a model without text, which takes an empty prompt and no guidance")
        weight = 1.0
    between, rescale = (0.0, inf), 0.0
    if weight != 1:
        low, high = advice.between
        between = request.between or (low, inf if high is None else high)
        rescale = advice.rescale if request.rescale is None else request.rescale
    elif request.negative or request.between or request.rescale:
        raise Refusal("negative, between and rescale act through guidance, and its weight is 1, which is off")
    sampler, grid = route(request, card, process)
    return Plan(
        sampler=sampler,
        grid=grid,
        weight=float(weight),
        between=between,
        rescale=float(rescale),
        negative=request.negative,
        size=_size(request, card, factor),
        dtype="bfloat16" if request.dtype == "bfloat16" else "float32",
    )


def route(request: Request, card: Card, process: Process) -> tuple[AnySampler, tuple[float, ...]]:
    """Choose sampler and grid. A list of levels that the card advises gives way to another number of steps.

    What was fitted to this number of steps goes before all else that was not asked for.
    """
    ends = process.sigma_max, process.sigma_min
    setting = _fitted(request, card.advice)
    if setting is not None:
        return sampler_of(setting.sampler, "card"), names.within(explicit((ends[0], *setting.levels)), *ends)
    wanted = card.advice.sampler if request.sampler is None else request.sampler
    asked = card.advice.grid if request.grid is None else request.grid
    if isinstance(asked, tuple) and request.steps in (None, len(asked) - 1):
        best, grid = choose.default(len(asked) - 1, *ends)[0], names.within(explicit(asked), *ends)
    else:
        steps = request.steps or card.advice.steps
        best, grid = choose.default(steps, *ends)
        if isinstance(asked, str) or wanted is not None:
            grid = named_grid(asked if isinstance(asked, str) else "default", steps, process)
    return (best if wanted is None else names.sampler(wanted) if isinstance(wanted, str) else wanted), grid


def named_grid(name: str, steps: int, process: Process) -> tuple[float, ...]:
    """Build a grid by name, with what it needs of a process. Raises Refusal where the two do not go together."""
    options: dict[str, Any] = {}
    wanted = names.GRIDS[names.known("grid", name, names.GRIDS)].options
    if "sigma_at" in wanted:
        ends = process.time(torch.tensor([process.sigma_max, process.sigma_min], dtype=torch.float64)).tolist()
        options = {"first": ends[0], "last": ends[1]}
        options["sigma_at"] = lambda time: process.sigma(torch.tensor(time, dtype=torch.float64)).item()
    if "table" in wanted:
        if not isinstance(process, VP | Table):
            raise Refusal(
                f"grid {name!r}: strides through a table of levels, which {type(process).__name__} has not; "
                f"'uniform' and 'beta' take any clock, 'flow' and 'angle' any range"
            )
        options = {"table": [sqrt((1 - a) / a) if a else inf for a in process.table()]}
    return names.grid(name, steps, process.sigma_max, process.sigma_min, **options)


def _fitted(request: Request, advice: Advice) -> Setting | None:
    """Find what the card has for as many steps, where sampler and grid are left open."""
    steps = request.steps or advice.steps
    open_ = request.sampler is None and request.grid is None
    return next((setting for setting in advice.fitted if open_ and len(setting.levels) == steps), None)


def sampler_of(part: Part, where: str = "recipe") -> AnySampler:
    """Build the sampler that a recipe or a card names. Raises Refusal for a class that the program has not."""
    known = {type(made).__name__: type(made) for made in (entry.make() for entry in names.SAMPLERS.values())}
    known[Fitted.__name__] = Fitted
    if part.class_ not in known:
        raise Refusal(f"{where}: sampler {part.class_!r}: {nearest(part.class_, known)}")
    try:
        return known[part.class_](**part.args)
    except TypeError as error:
        raise Refusal(f"{where}: sampler {part.class_}: {error}") from None


def _check(advice: Advice) -> None:
    """Raise Refusal where a card advises what nobody may ask for."""
    low, high = advice.between
    try:
        check_whole("steps", advice.steps, 1, STEPS)
        check_number("guidance", advice.guidance, 0, GUIDANCE)
        check_number("rescale", advice.rescale, 0, 1)
        check_levels("between", (low, inf if high is None else high))
        for size in advice.sizes:
            check_size(size)
    except Refusal as error:
        raise Refusal(f"the card's advice: {error}") from None


def _size(request: Request, card: Card, factor: int) -> tuple[int, int]:
    if request.size is None and not card.advice.sizes:
        raise Refusal(f"size: the card of {card.name!r} advises none; give one")
    width, height = request.size or card.advice.sizes[0]
    if width % factor or height % factor or not width * height:
        raise Refusal(f"size {width}x{height}: both must be multiples of {factor} for {card.name!r}")
    at_once, count = request.batch or 1, len(request.prompts) * request.n
    if at_once * width * height > AREA:
        raise Refusal(f"{at_once} pictures of {width}x{height} at once: at most {AREA} pixels in all")
    if count * width * height > TOTAL:
        raise Refusal(f"{count} pictures of {width}x{height}: at most {TOTAL // (width * height)} in one request")
    return width, height
