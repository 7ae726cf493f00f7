"""How to draw: the options of `generate` and `edit`, and the request that they come to."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError
from unnoise.generation.edit_options import Change, Soft
from unnoise.generation.limits import LORA, check_number
from unnoise.generation.options import Request, parse_levels
from unnoise.text.prompt_weighting import PromptWeighting

if TYPE_CHECKING:
    from unnoise.adapters.lora.read import Adapter
    from unnoise.generation.prepare import RawInputs
    from unnoise.pipeline import Pipeline


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
    distilled_guidance: Annotated[
        float | None, Parameter(help="Guidance that a distilled model, such as FLUX, takes as an input.")
    ] = None
    prompt_weighting: Annotated[
        PromptWeighting,
        Parameter(help='What "(word:1.3)" in a prompt is: an error, a weight, or letters as they stand.'),
    ] = "refuse"
    strength: Annotated[
        float | None, Parameter(help="How far --image is changed, above 0 to 1: the share of the way back to noise.")
    ] = None
    image_guidance: Annotated[
        float | None, Parameter(help="How much --image counts, for a model that follows an instruction: 1 is off.")
    ] = None
    frames: Annotated[int | None, Parameter(help="Frames of a film.")] = None
    seconds: Annotated[float | None, Parameter(help="Seconds of a sound.")] = None
    batch: Annotated[int | None, Parameter(help="Pictures computed at once.")] = None
    dtype: Annotated[str | None, Parameter(help="Numbers the network computes in: float32, bfloat16 or float16.")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class Ways:
    """Where to go from a picture or a prompt."""

    variation: Annotated[
        float | None, Parameter(help="Share of the way to the noise of --variation-seed, 0 to 1: -n gives several.")
    ] = None
    variation_seed: Annotated[int | None, Parameter(help="Seed of the first variation, + k of the k-th.")] = None
    toward: Annotated[str | None, Parameter(help="Another prompt, towards which PROMPT goes.")] = None
    toward_share: Annotated[float | None, Parameter(help="How far towards it, 0 to 1.")] = None
    tile: Annotated[int | None, Parameter(help="Draw in windows of so many pixels, if the picture is larger.")] = None
    control_scale: Annotated[float | None, Parameter(help="How much --hint counts, 0 to 2, 1 as trained.")] = None
    ip_adapter_scale: Annotated[float | None, Parameter(help="How much --look counts, 0 to 2, 1 as trained.")] = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a picture, and how what is painted goes over into it."""

    keep_outside: Annotated[bool, Parameter(negative="", help="White of the mask is painted, black is kept.")] = False
    feather: Annotated[int | None, Parameter(help="Pixels of the seam, half a latent cell unless given.")] = None
    soft: Annotated[Soft, Parameter(help="What a grey of the mask is: a mixture, or the strength of its place.")] = (
        "blend"
    )
    repaint: Annotated[int | None, Parameter(help="Take each stretch of steps so often, so that all agrees.")] = None
    expand: Annotated[str | None, Parameter(help="Pixels to add: LEFT,TOP,RIGHT,BOTTOM.")] = None
    origin: Annotated[
        str | None, Parameter(name="--from", help="What the picture shows: it is drawn again from its own noise.")
    ] = None


PLAIN, STRAIGHT = Kept(), Ways()
Image = Annotated[str | None, Parameter(help="Picture to be changed, see --strength.")]


@dataclass(frozen=True, slots=True)
class Start:
    """What of a picture is kept, what is followed, and what the model wears."""

    mask: Annotated[str | None, Parameter(help="Grey picture: white keeps of the picture, black is painted.")] = None
    control_image: Annotated[str | None, Parameter(help="Picture whose shapes are followed, for --control.")] = None
    look: Annotated[str | None, Parameter(help="Picture that the result resembles, for --look-model.")] = None
    lora: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Adapter as FILE or FILE:WEIGHT, 1 unless given; may be said several times."),
    ] = ()
    partial: Annotated[bool, Parameter(negative="", help="Take what fits of an adapter, where not all does.")] = False

    def opened(
        self, pipeline: "Pipeline", image: str | None, fit: tuple[int, int] | None = None, invert: bool = False
    ) -> "RawInputs":
        """Open all. image: file of the picture to be changed; fit: size to which it and the mask are brought; invert:
        white of the mask paints, black keeps.

        Raises InputError for what cannot be read.
        """
        from unnoise.generation.media.image import fitted, inverted, open_image, open_mask
        from unnoise.generation.prepare import RawInputs

        picture, control_image, look = (
            None if path is None else open_image(path) for path in (image, self.control_image, self.look)
        )
        mask = None if self.mask is None else open_mask(self.mask)
        if mask is not None and invert:
            mask = inverted(mask)
        if fit is not None:
            picture, mask = (None if one is None else fitted(one, fit) for one in (picture, mask))
        return RawInputs(
            image=picture, mask=mask, control_image=control_image, look=look, adapters=self._worn(pipeline)
        )

    def _worn(self, pipeline: "Pipeline") -> "tuple[tuple[Adapter, float], ...]":
        """Read the adapters, each with its weight."""
        if not self.lora:
            return ()
        from unnoise.adapters.lora.read import read

        named = [worn(text) for text in self.lora]
        return tuple((read(path, pipeline, partial=self.partial), weight) for path, weight in named)


def worn(text: str) -> tuple[Path, float]:
    """Read "FILE:WEIGHT", or "FILE", which weighs 1. Raises InputError for a weight beyond -4 ... 4, or no such file."""
    name, colon, number = text.rpartition(":")
    try:
        weight = float(number) if colon else 1.0
    except ValueError:
        name, weight = text, 1.0
    check_number("lora weight", weight, -LORA, LORA)
    return find(name if colon and name else text, ADAPTERS), weight


def request_of(texts: tuple[str, ...], how: How, ways: Ways = STRAIGHT, kept: Kept = PLAIN) -> Request:
    """Make the request. Raises InputError for an option that is out of range or cannot be read."""
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
        distilled_guidance=how.distilled_guidance,
        prompt_weighting=how.prompt_weighting,
        strength=how.strength,
        image_guidance=how.image_guidance,
        frames=how.frames,
        seconds=how.seconds,
        change=_change(ways, kept),
    )


def _change(ways: Ways, kept: Kept) -> Change:
    second = ways.variation_seed
    if ways.variation is not None and second is None:
        second = secrets.randbits(32)
    return Change(
        feather=kept.feather,
        soft=kept.soft,
        repaint=kept.repaint,
        expand=_sides(kept.expand),
        origin=kept.origin,
        tile=ways.tile,
        variation=ways.variation,
        variation_seed=second,
        toward=ways.toward,
        toward_share=0.5 if ways.toward is not None and ways.toward_share is None else ways.toward_share,
        control_scale=ways.control_scale,
        ip_adapter_scale=ways.ip_adapter_scale,
    )


def _sides(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", text)
    if sides is None:
        raise InputError(f"expand {text!r}: LEFT,TOP,RIGHT,BOTTOM in pixels, such as 0,0,32,0")
    left, top, right, bottom = map(int, sides.groups())
    return left, top, right, bottom


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read "640x480", or one number for both sides. Raises InputError for anything else."""
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.lower())
    if sides is None:
        raise InputError(f"size {text!r}: WIDTHxHEIGHT in pixels, or one number for both")
    return int(sides[1]), int(sides[2] or sides[1])


def _between(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    levels = parse_levels(text)
    if levels is None or len(levels) != 2:
        raise InputError(f"between {text!r}: LOW,HIGH, two levels of sigma")
    return levels[0], levels[1]
