"""What `generate` is asked for, checked before anything heavy is loaded or computed."""

from dataclasses import dataclass
from typing import Any

from unnoise.card import Card
from unnoise.errors import InputError, check_whole, nearest
from unnoise.generation.edit_options import NOTHING, Change
from unnoise.generation.limits import (
    ALL,
    DTYPES,
    FRAMES,
    GUIDANCE,
    PICTURES,
    SECONDS,
    SEEDS,
    STEPS,
    check_levels,
    check_number,
    check_size,
    check_text,
)
from unnoise.sampling.grid import explicit
from unnoise.sampling.registry import GRIDS, SAMPLERS, known
from unnoise.sampling.state import Sampler
from unnoise.text.prompt_weighting import PROMPT_WEIGHTINGS, PromptWeighting


@dataclass(frozen=True, slots=True)
class Request:
    """Hold what was asked; None leaves the choice to the model's card.

    weight: 0 ... 100, 1 = off; steps: 1 ... 1000; sampler: a name, or one itself; grid: a name, or every level; seed:
    0 ... 2**63 - n; size: (width, height) in pixels; between: the levels between which guidance acts; rescale: 0 ... 1;
    batch: pictures computed at once; dtype: of the network, None = as it was loaded; embedded: guidance that is an
    input; image_weight: guidance towards a picture that a net sees, 0 ... 100; emphasis: what "(word:1.3)" is;
    strength: how far an image is taken back to noise, as a share of the model's clock, above 0 to 1; frames, seconds:
    of a film, of a sound; change: how a picture is changed.
    Raises InputError that names the first argument that is out of its range, or that could not act.
    """

    prompts: tuple[str, ...]
    negative: str = ""
    steps: int | None = None
    weight: float | None = None
    sampler: str | Sampler[Any, Any] | None = None
    grid: str | tuple[float, ...] | None = None
    seed: int | None = None
    size: tuple[int, int] | None = None
    n: int = 1
    between: tuple[float, float] | None = None
    rescale: float | None = None
    batch: int | None = None
    dtype: str | None = None
    distilled_guidance: float | None = None
    image_guidance: float | None = None
    prompt_weighting: PromptWeighting = "refuse"
    strength: float | None = None
    frames: int | None = None
    seconds: float | None = None
    change: Change = NOTHING

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError("prompt: there is none; an empty text is the unconditional model")
        for name, text in (("negative", self.negative), *(("prompt", prompt) for prompt in self.prompts)):
            check_text(name, text)
        check_whole("n", self.n, 1, PICTURES)
        if len(self.prompts) * self.n > ALL:
            raise InputError(f"{len(self.prompts)} prompts of n {self.n}: at most {ALL} pictures in all")
        if self.steps is not None:
            check_whole("steps", self.steps, 1, STEPS)
        for name, weight in (("guidance weight", self.weight), ("image_weight", self.image_guidance)):
            if weight is not None:
                check_number(name, weight, 0, GUIDANCE)
        if self.rescale is not None:
            check_number("rescale", self.rescale, 0, 1)
        if self.seed is not None:
            check_whole("seed", self.seed, 0, SEEDS - self.n)
        if self.batch is not None:
            check_whole("batch", self.batch, 1, PICTURES)
        if self.size is not None:
            check_size(self.size)
        if self.between is not None:
            check_levels("between", self.between)
        for name, value, known_ones in (
            ("dtype", self.dtype, DTYPES),
            ("emphasis", self.prompt_weighting, PROMPT_WEIGHTINGS),
        ):
            if value is not None and value not in known_ones:
                raise InputError(f"{name} {value!r}: {nearest(str(value), known_ones)}")
        self._check_extent()
        if isinstance(self.sampler, str):
            known("sampler", self.sampler, SAMPLERS)
        elif self.sampler is not None and not hasattr(self.sampler, "advance"):
            raise InputError(f"sampler {self.sampler!r}: a name, or an object with `advance`")
        self._check_grid()

    def _check_extent(self) -> None:
        if self.distilled_guidance is not None:
            check_number("embedded guidance", self.distilled_guidance, 0, GUIDANCE)
        if self.strength is not None:
            check_number("strength", self.strength, 1e-3, 1)
            if self.grid is not None and not isinstance(self.grid, str):
                raise InputError("strength: the grid that is given starts where it starts; leave one of them out")
        if self.frames is not None:
            check_whole("frames", self.frames, 1, FRAMES)
        if self.seconds is not None:
            check_number("seconds", self.seconds, 1e-3, SECONDS)
        if self.change.repaint is not None and isinstance(self.sampler, str):
            raise InputError(f"sampler {self.sampler!r}: repaint has one of its own; leave one of them out")

    def _check_grid(self) -> None:
        if isinstance(self.grid, str):
            known("grid", self.grid, GRIDS)
        elif self.grid is not None:
            steps = len(explicit(self.grid)) - 1
            check_whole("steps of the grid", steps, 1, STEPS)
            if self.steps not in (None, steps):
                raise InputError(f"steps {self.steps}: the grid that is given has {steps}; leave one of them out")


def parse_levels(text: str) -> tuple[float, ...] | None:
    """Read levels such as "inf,10,2.5,0"; None where the text is not a list of numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None


def notes(request: Request, card: Card) -> list[str]:
    """Say what is allowed but seldom meant."""
    found = []
    if card.text and not all(prompt.strip() for prompt in request.prompts):
        found.append("an empty prompt: this draws from the unconditional model")
    return found
