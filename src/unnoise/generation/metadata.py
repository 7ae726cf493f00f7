"""Metadata of an output: everything that it takes to draw it again, as one line of JSON in the file itself."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from unnoise import __version__
from unnoise.card import Decoder, Part
from unnoise.errors import InputError
from unnoise.formats.json_text import json_value
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.generation.options import ControlResize, MaskMode
from unnoise.text.prompt_weighting import PromptWeighting

Level = float | Literal["inf"]
SINCE = "0.2.0"  # the version that first wrote metadata of this form


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Strict):
    """Every choice behind a sample, defaults filled in; fields that are not described here are as in the options.

    Args:
        size: (width, height) in pixels; (0, 0) for audio.
        sampler: class and fields.
        levels: every noise level; the first may be "inf".
    """

    negative_prompt: str
    size: tuple[int, int]
    sampler: Part
    levels: tuple[Level, ...]
    guidance_scale: float
    guidance_interval: tuple[Level, Level]
    guidance_rescale: float
    dtype: Literal["float32", "bfloat16", "float16"]
    vae_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    distilled_guidance: float | None = None
    image_guidance: float | None = None
    prompt_weighting: PromptWeighting = "warn"
    frames: int | None = None
    seconds: float | None = None
    variation: float | None = None
    blend_prompt: str | None = None
    blend_share: float | None = None
    tile: int | None = None
    strength: float | None = None
    outpaint: tuple[int, int, int, int] | None = None
    source_prompt: str | None = None
    feather: int | None = None
    mask_mode: MaskMode = "blend"
    resample: int | None = None
    original_size: tuple[int, int] | None = None
    crop_top_left: tuple[int, int] | None = None
    target_size: tuple[int, int] | None = None
    aesthetic_score: float | None = None
    negative_original_size: tuple[int, int] | None = None
    negative_crop_top_left: tuple[int, int] | None = None
    negative_target_size: tuple[int, int] | None = None
    negative_aesthetic_score: float | None = None
    control_scale: float | None = None
    control_resize: ControlResize = "crop"
    ip_adapter_scale: float | None = None
    decoder: Decoder = "full"

    @property
    def grid(self) -> tuple[float, ...]:
        """Every noise level as a number."""
        return tuple(map(from_level, self.levels))

    @property
    def interval(self) -> tuple[float, float]:
        """The levels between which guidance acts, as numbers."""
        return from_level(self.guidance_interval[0]), from_level(self.guidance_interval[1])

    @property
    def steps(self) -> int:
        """The number of steps."""
        return len(self.levels) - 1

    @property
    def guided(self) -> bool:
        """Whether the network runs without the prompt, too."""
        return self.guidance_scale != 1 or self.image_guidance not in (None, 1)


@dataclass(frozen=True, slots=True)
class AppliedAdapter(Strict):
    """An adapter: its file name, the fingerprint of its tensors, its weight, the only network that it acts on."""

    name: str
    fingerprint: str
    weight: float
    network: str = ""


@dataclass(frozen=True, slots=True)
class CallShape(Strict):
    """The shape of consecutive network calls. The last bits of an answer depend on it, so a replay repeats it.

    Args:
        calls: how many calls had this shape.
        rows, row: samples in the call, and the place of this one.
        guided, place: samples that were guided, and the place of this one among them; -1 where it was not.
        tokens: length to which the prompts were padded, 0 without text.
        masked: whether a mask marked the padding.
        mixed: whether the samples had different adapters.
    """

    calls: int
    rows: int
    row: int
    guided: int
    place: int
    tokens: int = 0
    masked: bool = False
    mixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata(Settings):
    """How one sample was made.

    Args:
        model, fingerprint: name and weights, from the card.
        training: a hash of process, prediction type and latent scale; "" in metadata of former versions.
        seed: of the starting noise; variation_seed: of the noise that a variation goes towards.
        adapters: LoRA adapters that were applied.
        calls: the shapes of the network calls, in order.
        decoded: samples that were decoded together, and the place of this one.
        noise, image, mask, control_image, ip_adapter_image: sha256 of inputs, None where there was none.
        control, ip_adapter: fingerprints of what read the control image and the IP-Adapter's image.
        image_size: (width, height) to which the image was resized, before outpainting.
        versions: of the programs that decide the bits.
        environment: what else decides them: threads, instructions or card, compiled and packed networks.
    """

    model: str
    fingerprint: str
    prompt: str
    seed: int
    device: str
    versions: dict[str, str]
    calls: tuple[CallShape, ...]
    decoded: tuple[int, int] = (1, 0)
    environment: dict[str, str] = field(default_factory=dict)
    training: str = ""
    variation_seed: int | None = None
    adapters: tuple[AppliedAdapter, ...] = ()
    noise: str | None = None
    image: str | None = None
    mask: str | None = None
    control_image: str | None = None
    ip_adapter_image: str | None = None
    control: str | None = None
    ip_adapter: str | None = None
    image_size: tuple[int, int] | None = None


INPUTS = ("noise", "image", "mask", "control_image", "ip_adapter_image")  # of which metadata has the sha256


def to_level(sigma: float) -> Level:
    """Write a level as JSON can: infinity, which JSON lacks, as "inf"."""
    return "inf" if sigma == inf else float(sigma)


def from_level(level: Level) -> float:
    """Read what `to_level` wrote."""
    return inf if level == "inf" else level


def to_json(metadata: Metadata) -> str:
    """Write metadata as one line of JSON in ASCII; equal metadata gives equal text."""
    return dump(metadata)


def from_json(text: str, where: str) -> Metadata:
    """Read metadata. Raises InputError, starting with `where`, for a former version and for anything not sound."""
    former = _former_version(text)
    if former is not None:
        raise InputError(
            f"{where}: written by unnoise {former}, whose metadata has another form; replay it with that version, "
            f"this is {__version__}"
        )
    return parse(Metadata, text, where)


def _former_version(text: str) -> str | None:
    """Return the version that wrote metadata of a former form, None for any other text."""
    try:
        content = json_value(text)
    except ValueError:
        return None
    versions = content.get("versions") if isinstance(content, dict) else None
    version = versions.get("unnoise") if isinstance(versions, dict) else None
    if not isinstance(version, str) or "levels" in content or len(version) > 20:
        return None
    return version
