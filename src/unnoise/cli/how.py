"""How to draw: the options of `generate`, and the request that they come to."""

import re
import secrets
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from PIL.Image import Image

from unnoise.errors import Refusal
from unnoise.files.request import Request, parse_levels
from unnoise.text.emphasis import Emphasis


@dataclass(frozen=True, slots=True)
class How:
    """How to draw; what is left out is as the model's card advises."""

    steps: Annotated[int | None, Parameter(help="Steps, 1 to 1000.")] = None
    guidance: Annotated[
        float | None,
        Parameter(help="How much the prompt counts: 1 is off, 0 to 100; negative + G*(prompt - negative)."),
    ] = None
    sampler: Annotated[str | None, Parameter(help="Name of a sampler, see below.")] = None
    grid: Annotated[str | None, Parameter(help="Name of a grid of noise levels, or the levels, see below.")] = None
    negative: Annotated[str, Parameter(help="What to keep away from.")] = ""
    seed: Annotated[int | None, Parameter(help="Seed of the first picture; picture k has seed + k.")] = None
    n: Annotated[int, Parameter(name="-n", help="Pictures of each prompt.")] = 1
    size: Annotated[str | None, Parameter(help="Size in pixels: WIDTHxHEIGHT, or one number for both.")] = None
    between: Annotated[str | None, Parameter(help="Guide only between two levels of sigma: LOW,HIGH.")] = None
    rescale: Annotated[float | None, Parameter(help="Keep contrast under strong guidance, 0 to 1.")] = None
    embedded: Annotated[
        float | None, Parameter(help="Guidance that a distilled model, such as FLUX, takes as an input.")
    ] = None
    emphasis: Annotated[
        Emphasis, Parameter(help='What "(word:1.3)" in a prompt is: an error, a weight, or letters as they stand.')
    ] = "refuse"
    strength: Annotated[
        float | None, Parameter(help="How far --image is changed, above 0 to 1: the share of the way back to noise.")
    ] = None
    image_weight: Annotated[
        float | None, Parameter(help="How much --image counts, for a model that follows an instruction: 1 is off.")
    ] = None
    frames: Annotated[int | None, Parameter(help="Frames of a film.")] = None
    seconds: Annotated[float | None, Parameter(help="Seconds of a sound.")] = None
    batch: Annotated[int | None, Parameter(help="Pictures computed at once.")] = None
    dtype: Annotated[
        str | None, Parameter(help="Numbers the network computes in: float32, bfloat16 or float16.")
    ] = None


@dataclass(frozen=True, slots=True)
class Start:
    """What is changed, and what of it is kept."""

    image: Annotated[str | None, Parameter(help="Picture to be changed, see --strength.")] = None
    mask: Annotated[str | None, Parameter(help="Grey picture: white keeps of --image, black is painted.")] = None

    def opened(self) -> tuple[Image | None, Image | None]:
        """Open both. Raises Refusal for what cannot be read."""
        from unnoise.files.picture import open_image, open_mask

        image = None if self.image is None else open_image(self.image)
        return image, None if self.mask is None else open_mask(self.mask)


def request_of(texts: tuple[str, ...], how: How) -> Request:
    """Make the request. Raises Refusal for an option that is out of range or cannot be read."""
    levels = parse_levels(how.grid) if how.grid and "," in how.grid else None
    return Request(
        prompts=texts,
        negative=how.negative,
        steps=how.steps,
        weight=how.guidance,
        sampler=how.sampler,
        grid=levels or how.grid,
        seed=secrets.randbits(32) if how.seed is None else how.seed,
        size=size_of(how.size),
        n=how.n,
        between=_between(how.between),
        rescale=how.rescale,
        batch=how.batch,
        dtype=how.dtype,
        embedded=how.embedded,
        emphasis=how.emphasis,
        strength=how.strength,
        image_weight=how.image_weight,
        frames=how.frames,
        seconds=how.seconds,
    )


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read "640x480", or one number for both sides. Raises Refusal for anything else."""
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.lower())
    if sides is None:
        raise Refusal(f"size {text!r}: WIDTHxHEIGHT in pixels, or one number for both")
    return int(sides[1]), int(sides[2] or sides[1])


def _between(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    levels = parse_levels(text)
    if levels is None or len(levels) != 2:
        raise Refusal(f"between {text!r}: LOW,HIGH, two levels of sigma")
    return levels[0], levels[1]
