"""What `generate` is asked for, checked before anything heavy is loaded or computed."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final

from unnoise.errors import Refusal, check_whole, nearest
from unnoise.files.card import Card
from unnoise.sampling.grid import explicit
from unnoise.sampling.names import GRIDS, SAMPLERS, known
from unnoise.sampling.state import Sampler
from unnoise.text.emphasis import EMPHASES, Emphasis

STEPS: Final = 1000
GUIDANCE: Final = 100.0
SEEDS: Final = 2**63  # seeds are below this; sample k has seed + k
SIDE: Final = 4096  # pixels
AREA: Final = 1 << 22  # pixels computed at once
TOTAL: Final = 1 << 28  # pixels of all pictures of one request, which are held in memory together
PICTURES: Final = 4096  # samples of one prompt, and rows of one batch
ALL: Final = 1 << 16  # pictures of one request
LETTERS: Final = 10_000  # of a prompt
DTYPES: Final = ("float32", "bfloat16", "float16")
FRAMES: Final = 1024  # of a film
SECONDS: Final = 600.0  # of a sound
STRENGTH: Final = 0.6  # of a change to an image, where the caller does not say


@dataclass(frozen=True, slots=True)
class Request:
    """Hold what was asked; None leaves the choice to the model's card.

    weight: 0 ... 100, 1 = off; steps: 1 ... 1000; sampler: a name, or one itself; grid: a name, or every level; seed:
    0 ... 2**63 - n; size: (width, height) in pixels; between: the levels between which guidance acts; rescale: 0 ... 1;
    batch: pictures computed at once; dtype: of the network, None = as it was loaded; embedded: guidance that is an
    input; image_weight: guidance towards a picture that a net sees, 0 ... 100; emphasis: what "(word:1.3)" is;
    strength: how far an image is taken back to noise, as a share of the model's clock, above 0 to 1; frames, seconds:
    of a film, of a sound.
    Raises Refusal that names the first argument that is out of its range, or that could not act.
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
    embedded: float | None = None
    image_weight: float | None = None
    emphasis: Emphasis = "refuse"
    strength: float | None = None
    frames: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.prompts:
            raise Refusal("prompt: there is none; an empty text is the unconditional model")
        for name, text in (("negative", self.negative), *(("prompt", prompt) for prompt in self.prompts)):
            check_text(name, text)
        check_whole("n", self.n, 1, PICTURES)
        if len(self.prompts) * self.n > ALL:
            raise Refusal(f"{len(self.prompts)} prompts of n {self.n}: at most {ALL} pictures in all")
        if self.steps is not None:
            check_whole("steps", self.steps, 1, STEPS)
        for name, weight in (("guidance weight", self.weight), ("image_weight", self.image_weight)):
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
        for name, value, known_ones in (("dtype", self.dtype, DTYPES), ("emphasis", self.emphasis, EMPHASES)):
            if value is not None and value not in known_ones:
                raise Refusal(f"{name} {value!r}: {nearest(str(value), known_ones)}")
        self._check_extent()
        if isinstance(self.sampler, str):
            known("sampler", self.sampler, SAMPLERS)
        elif self.sampler is not None and not hasattr(self.sampler, "advance"):
            raise Refusal(f"sampler {self.sampler!r}: a name, or an object with `advance`")
        self._check_grid()

    def _check_extent(self) -> None:
        if self.embedded is not None:
            check_number("embedded guidance", self.embedded, 0, GUIDANCE)
        if self.strength is not None:
            check_number("strength", self.strength, 1e-3, 1)
            if self.grid is not None and not isinstance(self.grid, str):
                raise Refusal("strength: the grid that is given starts where it starts; leave one of them out")
        if self.frames is not None:
            check_whole("frames", self.frames, 1, FRAMES)
        if self.seconds is not None:
            check_number("seconds", self.seconds, 1e-3, SECONDS)

    def _check_grid(self) -> None:
        if isinstance(self.grid, str):
            known("grid", self.grid, GRIDS)
        elif self.grid is not None:
            steps = len(explicit(self.grid)) - 1
            check_whole("steps of the grid", steps, 1, STEPS)
            if self.steps not in (None, steps):
                raise Refusal(f"steps {self.steps}: the grid that is given has {steps}; leave one of them out")


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


def check_text(name: str, text: object) -> None:
    """Raise Refusal unless `text` is Unicode of at most LETTERS letters."""
    if not isinstance(text, str):
        raise Refusal(f"{name} {text!r}: a text")
    if len(text) > LETTERS:
        raise Refusal(f"{name} of {len(text)} letters: at most {LETTERS}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refusal(f"{name} {text!r}: not Unicode, it holds half a character") from None


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise Refusal unless `value` is a number from low to high."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (isfinite(value) and low <= value <= high):
        raise Refusal(f"{name} {value!r}: a number from {low:g} to {high:g}")


def check_size(size: Any) -> None:
    """Raise Refusal unless `size` is a width and a height, each from 1 to SIDE."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise Refusal(f"size {size!r}: a width and a height")
    for name, side in zip(("width", "height"), size, strict=True):
        check_whole(name, side, 1, SIDE)


def check_levels(name: str, ends: Any) -> None:
    """Raise Refusal unless `ends` is a lower and an upper level, 0 <= lower < upper <= inf."""
    numbers = isinstance(ends, tuple | list) and all(isinstance(end, int | float) for end in ends)
    if not numbers or len(ends) != 2 or not 0 <= ends[0] < ends[1] <= inf:
        raise Refusal(f"{name} {ends!r}: a lower and a higher level, 0 to inf")
