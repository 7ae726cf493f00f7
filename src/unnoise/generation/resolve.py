"""What a request comes to on one model: each choice that was left open is made, by the card or by the library."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, Literal

import torch

from unnoise.card import Advice, Card, Part, Setting
from unnoise.diffusion.process import VP, Process, Table
from unnoise.errors import InputError, check_whole, nearest
from unnoise.generation.edit_options import NOTHING, Change
from unnoise.generation.limits import AREA, GUIDANCE, STEPS, TOTAL, check_levels, check_number, check_size
from unnoise.generation.options import Request
from unnoise.sampling import defaults as choose, registry as names
from unnoise.sampling.grid import explicit
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.sampling.samplers.restart import RePaint
from unnoise.sampling.state import Sampler
from unnoise.text.prompt_weighting import PromptWeighting

AnySampler = Sampler[Any, Any]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold every choice, as `Request` describes them. Both weights 1 leave the unconditional model unasked."""

    sampler: AnySampler
    grid: tuple[float, ...]
    weight: float
    between: tuple[float, float]
    rescale: float
    negative: str
    size: tuple[int, int]
    dtype: Dtype
    distilled_guidance: float | None = None
    image_guidance: float | None = None
    prompt_weighting: PromptWeighting = "refuse"
    strength: float | None = None
    frames: int | None = None
    seconds: float | None = None
    change: Change = NOTHING

    @property
    def guided(self) -> bool:
        """Say whether the unconditional model is asked."""
        return self.weight != 1 or self.image_guidance not in (None, 1)


def decide(request: Request, card: Card, process: Process, factor: int, dtype: Dtype = "float32") -> Plan:
    """Make every choice: what was asked, else what the card advises, else the library's best.

    factor: pixels that both sides must be a multiple of; dtype: of the weights. Raises InputError where the model cannot
    do what is asked.
    """
    advice = card.advice
    _check(advice)
    weight = advice.guidance_scale if request.weight is None else request.weight
    if card.text is None:
        if any(request.prompts) or request.weight not in (None, 1):
            raise InputError(
                f"prompt: {card.name!r} is a model without text, which takes an empty prompt and no guidance"
            )
        weight = 1.0
    image_guidance = _image_weight(request, card)
    between, rescale = (0.0, inf), 0.0
    if weight != 1 or image_guidance not in (None, 1):
        low, high = advice.guidance_interval
        between = request.between or (low, inf if high is None else high)
        rescale = advice.guidance_rescale if request.rescale is None else request.rescale
    elif request.negative or request.between or request.rescale:
        raise InputError("negative, between and rescale act through guidance, and its weight is 1, which is off")
    distilled_guidance = _distilled_guidance(request, card, weight)
    sampler, grid = route(request, card, process)
    if request.change.repaint is not None:
        sampler = RePaint()
    return Plan(
        sampler=sampler,
        grid=grid,
        weight=float(weight),
        between=between,
        rescale=float(rescale),
        negative=request.negative,
        size=_size(request, card, factor),
        dtype=dtype if request.dtype is None else request.dtype,  # type: ignore[arg-type]
        distilled_guidance=distilled_guidance,
        image_guidance=image_guidance,
        prompt_weighting=request.prompt_weighting,
        strength=request.strength,
        frames=_frames(request, card),
        seconds=_seconds(request, card),
        change=_change(request, card, factor),
    )


def route(request: Request, card: Card, process: Process) -> tuple[AnySampler, tuple[float, ...]]:
    """Choose sampler and grid. A list of levels that the card advises gives way to another number of steps.

    What was fitted to this number of steps goes before all else that was not asked for.
    """
    ends = start_level(request.strength, process), process.sigma_min
    setting = _fitted(request, card.advice)
    if setting is not None:
        return sampler_of(setting.sampler, "card"), names.within(explicit((ends[0], *setting.levels)), *ends)
    wanted = card.advice.sampler if request.sampler is None else request.sampler
    asked = card.advice.schedule if request.grid is None else request.grid
    if isinstance(asked, tuple) and request.steps in (None, len(asked) - 1):
        best, grid = choose.default(len(asked) - 1, *ends)[0], names.within(explicit(asked), *ends)
    else:
        steps = request.steps or card.advice.steps
        best, grid = choose.default(steps, *ends)
        if isinstance(asked, str) or wanted is not None:
            name = asked if isinstance(asked, str) else "default"
            grid = named_grid(name, steps, process, ends[0], **_own(request, card))
    return (best if wanted is None else names.sampler(wanted) if isinstance(wanted, str) else wanted), grid


def start_level(strength: float | None, process: Process) -> float:
    """Say from which level a request starts: the noisiest, or where a share of the model's clock leads.

    So a strength means the same noise with every sampler and number of steps. Raises InputError where that is no noise.
    """
    if strength is None or strength == 1:
        return process.sigma_max
    ends = torch.tensor([process.sigma_min, process.sigma_max], dtype=torch.float64)
    low, high = process.time(ends).tolist()
    level = float(process.sigma(torch.tensor(low + strength * (high - low), dtype=torch.float64)))
    if level <= process.sigma_min:
        raise InputError(f"strength {strength:g}: leads to level {level:g}, where there is no noise to take away")
    return level


def named_grid(
    name: str, steps: int, process: Process, sigma_max: float | None = None, **own: Any
) -> tuple[float, ...]:
    """Build a grid by name, with what it needs of a process. Raises InputError where the two do not go together.

    sigma_max: the first level, where that is below the process's; own: options that are the model's, such as its shift,
    which act where the grid has them.
    """
    top = process.sigma_max if sigma_max is None else sigma_max
    options: dict[str, Any] = {}
    wanted = names.GRIDS[names.known("grid", name, names.GRIDS)].options
    if "sigma_at" in wanted:
        ends = process.time(torch.tensor([top, process.sigma_min], dtype=torch.float64)).tolist()
        options = {"first": ends[0], "last": ends[1]}
        options["sigma_at"] = lambda time: process.sigma(torch.tensor(time, dtype=torch.float64)).item()
    options |= {option: value for option, value in own.items() if option in wanted}
    if "table" in wanted:
        if not isinstance(process, VP | Table):
            raise InputError(
                f"grid {name!r}: strides through a table of levels, which {type(process).__name__} has not; "
                f"'uniform' and 'beta' take any clock, 'flow' and 'angle' any range"
            )
        if top != process.sigma_max:
            raise InputError(
                f"grid {name!r}: strides through the whole table, also above a strength; 'uniform' does not"
            )
        options = {"table": [sqrt((1 - a) / a) if a else inf for a in process.table()]}
    return names.grid(name, steps, top, process.sigma_min, **options)


def _fitted(request: Request, advice: Advice) -> Setting | None:
    """Find what the card has for as many steps, where sampler and grid are left open."""
    steps = request.steps or advice.steps
    open_ = all(one is None for one in (request.sampler, request.grid, request.strength, request.change.repaint))
    return next((setting for setting in advice.fitted if open_ and len(setting.levels) == steps), None)


def sampler_of(part: Part, where: str = "recipe") -> AnySampler:
    """Build the sampler that a recipe or a card names. Raises InputError for a class that the program has not."""
    known = {type(made).__name__: type(made) for made in (entry.make() for entry in names.SAMPLERS.values())}
    known |= {made.__name__: made for made in (Fitted, RePaint)}
    if part.class_ not in known:
        raise InputError(f"{where}: sampler {part.class_!r}: {nearest(part.class_, known)}")
    try:
        return known[part.class_](**part.args)
    except TypeError as error:
        raise InputError(f"{where}: sampler {part.class_}: {error}") from None


def _change(request: Request, card: Card, factor: int) -> Change:
    """Settle how a picture is changed."""
    change = request.change
    if change.tile is not None and change.tile % factor:
        raise InputError(f"tile {change.tile}: a multiple of {factor} for {card.name!r}")
    if card.modality != "image" and change != NOTHING:
        raise InputError(f"{card.name!r} makes no pictures, so there is none to change")
    if change.toward is not None and card.text is None:
        raise InputError(f"toward: {card.name!r} is a model without text")
    return change


def _check(advice: Advice) -> None:
    """Raise InputError where a card advises what nobody may ask for."""
    low, high = advice.guidance_interval
    try:
        check_whole("steps", advice.steps, 1, STEPS)
        check_number("guidance", advice.guidance_scale, 0, GUIDANCE)
        check_number("rescale", advice.guidance_rescale, 0, 1)
        check_levels("between", (low, inf if high is None else high))
        for size in advice.sizes:
            check_size(size)
    except InputError as error:
        raise InputError(f"the card's advice: {error}") from None


def _own(request: Request, card: Card) -> dict[str, Any]:
    """Give the options of grids that a model sets: its shift, and of FLUX the tokens, one for 16 x 16 pixels."""
    own: dict[str, Any] = {} if card.advice.shift is None else {"shift": card.advice.shift}
    size = request.size or next(iter(card.advice.sizes), None)
    if card.family == "flux1" and size is not None:
        own["tokens"] = max(1, size[0] * size[1] // 256)
    return own


def _distilled_guidance(request: Request, card: Card, weight: float) -> float | None:
    """Settle the guidance that a distilled network takes as an input, which is not to be taken for the other."""
    own = card.advice.distilled_guidance
    if own is None and request.distilled_guidance is not None:
        raise InputError(
            f"embedded guidance {request.distilled_guidance:g}: {card.name!r} takes none as an input; use guidance"
        )
    if own is not None and request.weight not in (None, 1) and not request.negative:
        raise InputError(
            f"guidance {weight:g}: {card.name!r} takes its guidance as an input: embedded {weight:g}; guidance proper "
            f"asks it twice a step, and acts on it only against a negative prompt"
        )
    return own if request.distilled_guidance is None else request.distilled_guidance


def _image_weight(request: Request, card: Card) -> float | None:
    """Settle the guidance towards a picture that a network sees."""
    own = card.advice.image_guidance
    if own is None and request.image_guidance is not None:
        raise InputError(f"image_weight {request.image_guidance:g}: {card.name!r} has no guidance towards a picture")
    return own if request.image_guidance is None else float(request.image_guidance)


def _frames(request: Request, card: Card) -> int | None:
    """Settle the frames of a film, which are stride*k + 1."""
    own, stride = card.advice.frames, card.advice.stride
    if own is None and request.frames is not None:
        raise InputError(f"frames {request.frames}: {card.name!r} makes no films")
    frames = own if request.frames is None else request.frames
    if frames is not None and (frames - 1) % stride:
        near = (frames - 1) // stride * stride + 1
        raise InputError(
            f"frames {frames}: {card.name!r} makes {stride}*k + 1 of them, such as {near} or {near + stride}"
        )
    return frames


def _seconds(request: Request, card: Card) -> float | None:
    """Settle the seconds of a sound."""
    own = card.advice.seconds
    if own is None and request.seconds is not None:
        raise InputError(f"seconds {request.seconds:g}: {card.name!r} makes no sounds")
    return own if request.seconds is None else float(request.seconds)


def _size(request: Request, card: Card, factor: int) -> tuple[int, int]:
    if card.modality == "audio":
        if request.size is not None:
            raise InputError(f"size {request.size[0]}x{request.size[1]}: {card.name!r} makes sounds; give seconds")
        return 0, 0
    if request.size is None and not card.advice.sizes:
        raise InputError(f"size: the card of {card.name!r} advises none; give one")
    width, height = request.size or card.advice.sizes[0]
    if width % factor or height % factor or not width * height:
        raise InputError(f"size {width}x{height}: both must be multiples of {factor} for {card.name!r}")
    at_once, count = request.batch or 1, len(request.prompts) * request.n
    if at_once * width * height > AREA:
        raise InputError(f"{at_once} pictures of {width}x{height} at once: at most {AREA} pixels in all")
    if count * width * height > TOTAL:
        raise InputError(f"{count} pictures of {width}x{height}: at most {TOTAL // (width * height)} in one request")
    return width, height
