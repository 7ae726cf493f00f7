"""What made a picture, complete enough to make it again, as one line of JSON in the picture itself."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from unnoise.card import Part
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.generation.edit_options import NOTHING, Change

Level = float | Literal["inf"]


@dataclass(frozen=True, slots=True)
class AppliedAdapter(Strict):
    """Name an adapter by its file, the fingerprint of its tensors, and how much of it was worn."""

    name: str
    fingerprint: str
    weight: float


@dataclass(frozen=True, slots=True)
class Metadata(Strict):
    """Say how one picture was made.

    model, fingerprint: the card's; sampler: its class and fields; grid: every level, the first may be "inf"; weight:
    null + weight*(cond - null); between: the levels where that acted; size: (width, height) in pixels; row, rows: the
    place in the batch, because the last bits of a network's answer depend on the shape of what it is asked; noise:
    sha256 of a starting noise that was handed in, which no recipe can make again; image: sha256 of a picture that was
    handed in, likewise, and mask of the mask that went with it; strength, embedded, image_weight, emphasis, frames,
    seconds, change: as `Request` has them; hint, look: sha256 of pictures that were handed in likewise; adapters: what
    the model wore; versions: of what computed it.
    """

    model: str
    fingerprint: str
    prompt: str
    negative: str
    seed: int
    size: tuple[int, int]
    sampler: Part
    grid: tuple[Level, ...]
    weight: float
    between: tuple[Level, Level]
    rescale: float
    dtype: Literal["float32", "bfloat16", "float16"]
    device: str
    row: int
    rows: int
    versions: dict[str, str]
    noise: str | None = None
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    distilled_guidance: float | None = None
    image_guidance: float | None = None
    prompt_weighting: Literal["refuse", "apply", "literal"] = "refuse"
    frames: int | None = None
    seconds: float | None = None
    change: Change = NOTHING
    control_image: str | None = None
    look: str | None = None
    adapters: tuple[AppliedAdapter, ...] = ()


def to_level(sigma: float) -> Level:
    """Write a level as JSON can: infinity, which it lacks, as "inf"."""
    return "inf" if sigma == inf else float(sigma)


def from_level(level: Level) -> float:
    """Read what `to_level` wrote."""
    return inf if level == "inf" else level


def to_json(recipe: Metadata) -> str:
    """Write a recipe as one line of JSON in ASCII, always the same for the same recipe."""
    return dump(recipe)


def from_json(text: str, where: str) -> Metadata:
    """Read a recipe. Raises InputError, starting with `where`, for anything that a recipe cannot say."""
    return parse(Metadata, text, where)
