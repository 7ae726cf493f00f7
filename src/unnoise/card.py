"""The card of a model: its networks and their arguments, its training, and its measured default settings.

A card is data. It can only name classes of the closed table below, with the arguments of their constructors.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unnoise.errors import InputError, nearest
from unnoise.formats.gguf import read_weights_header
from unnoise.formats.header import Header, read_header
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.sampling.kinds import Kind

Decoder = Literal["full", "small"]  # the autoencoder's own, or the small one
OWN = "unnoise"  # the family of models of this program
KEY = "unnoise"  # the key of the card in the metadata of a file's header
CLASSES: dict[str, dict[str, str]] = {
    "net": {"UNet": "unnoise.nets.unet:UNet", "DiT": "unnoise.nets.dit:DiT"},
    "process": {name: f"unnoise.diffusion.process:{name}" for name in ("VP", "Table", "VE", "EDM", "Flow", "Angle")},
    "space": {"Pixels": "unnoise.spaces.pixels:Pixels", "Latent": "unnoise.spaces.latent:Latent"},
    "autoencoder": {
        "Autoencoder": "unnoise.nets.autoencoder:Autoencoder",
        # of other models, frozen; they need diffusers
        "AutoencoderKL": "unnoise.integrations.diffusers.autoencoder_kl:AutoencoderKL",
        "AutoencoderTiny": "unnoise.integrations.diffusers.autoencoder_kl:AutoencoderTiny",
        "AutoencoderDC": "unnoise.integrations.diffusers.autoencoder_kl:AutoencoderDC",
    },
    "preview": {"TinyDecoder": "unnoise.nets.tiny_decoder:TinyDecoder"},
    "text": {"TextEncoder": "unnoise.nets.text:TextEncoder"},
    "tokenizer": {"Tokenizer": "unnoise.text.tokenizer:Tokenizer"},
}
# Fields of cards that were written before 0.2, and their names today.
FORMER_NAMES = {
    "advice.grid": "schedule",
    "advice.guidance": "guidance_scale",
    "advice.between": "guidance_interval",
    "advice.rescale": "guidance_rescale",
    "advice.embedded": "distilled_guidance",
    "advice.image_weight": "image_guidance",
    "advice.fitted.guidance": "guidance_scale",
}
LARGEST = 1 << 20  # of any number in the arguments of a part
LONGEST = 100_000  # of a list or text in them; a table of levels has about 1,000 entries, a tokenizer 100,000 merges


@dataclass(frozen=True, slots=True)
class Part(Strict):
    """Name a class of the closed table and the arguments of its constructor, in plain JSON types."""

    class_: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting(Strict):
    """Describe the best settings for one number of steps, as `unnoise tune` found them.

    Args:
        sampler: its class and fields.
        levels: every level after the noisiest of the model; the last is 0.
        guidance_scale: of the measurement.
        distances: in x0 to converged samples, of the default settings and of these; None where they are not measured.
    """

    sampler: Part
    levels: tuple[float, ...]
    guidance_scale: float
    distances: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Advice(Strict):
    """Hold measured default settings; None leaves the choice to the library.

    Args:
        sampler, schedule: as the options of generation.
        steps: 1 to 1000.
        guidance_scale: 1 is off.
        guidance_range: the guidance scales that give good images.
        guidance_interval: the levels between which guidance acts; None for the upper one is infinity.
        guidance_rescale: 0 to 1.
        sizes: (width, height) in pixels, the best first.
        shift: of schedules in flow time.
        rho: of the karras schedule.
        distilled_guidance: the guidance scale as an input of a distilled network; None for other networks.
        image_guidance: the guidance scale of an image input; None for a network without one.
        frames, seconds: of a video and of audio; None for other models.
        stride: frames are stride*k + 1.
        fps: frames a second.
        fitted: at most one for each number of steps; used if neither sampler nor schedule is given.
        decoder: "small" draws with the small decoder of the model.
    """

    sampler: str | None = None
    schedule: str | tuple[float, ...] | None = None
    steps: int = 20
    guidance_scale: float = 1.0
    guidance_range: tuple[float, float] = (1.0, 1.0)
    guidance_interval: tuple[float, float | None] = (0.0, None)
    guidance_rescale: float = 0.0
    sizes: tuple[tuple[int, int], ...] = ()
    shift: float | None = None
    rho: float | None = None
    distilled_guidance: float | None = None
    image_guidance: float | None = None
    frames: int | None = None
    stride: int = 1
    fps: float = 16.0
    seconds: float | None = None
    fitted: tuple[Setting, ...] = ()
    decoder: Decoder = "full"


@dataclass(frozen=True, slots=True)
class Distilled(Strict):
    """Describe what a model was distilled from, and for what it was trained.

    Args:
        method: of `unnoise distill`.
        teacher, teacher_fingerprint: the name of the teacher, and that of its weights.
        guidance_range: the teacher's guidance scales that it was trained on; two equal ones are folded in as one.
        steps: the numbers of network calls that it was trained for.
    """

    method: Literal["imitate", "consistency", "match"]
    teacher: str
    teacher_fingerprint: str
    guidance_range: tuple[float, float]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Card(Strict):
    """Describe a model completely, so that its file alone is enough to use it.

    Only cards of our own family are stored in files. The card of a foreign model is built when it is loaded, with
    classes of `integrations.diffusers.table`.

    Args:
        name: of the model.
        net, process, kind, space, autoencoder, text, tokenizer: what the components are built from.
        preview: the small decoder of a model with an autoencoder; None for a model without one.
        words: every word of the captions of the training, separated by spaces; empty where they are too many.
        labels: the names of the classes of a model whose prompts they are; empty for other models.
        advice: default settings.
        licence: of the weights.
        training: facts of its training, in plain JSON types.
        distilled: of a model that was distilled from another; None for others.
        fingerprint: sha256 of the stored weights, in hexadecimal; empty before they are written.
        family, variant: keys of `families.table`.
        modality: of its samples.
        version: of this format.
    """

    name: str
    net: Part
    process: Part
    kind: Kind
    space: Part
    advice: Advice
    licence: str
    autoencoder: Part | None = None
    text: Part | None = None
    tokenizer: Part | None = None
    preview: Part | None = None
    words: str = ""
    labels: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    distilled: Distilled | None = None
    fingerprint: str = ""
    family: str = OWN
    variant: str = ""
    modality: Literal["image", "video", "audio"] = "image"
    version: Literal[1] = 1

    def __post_init__(self) -> None:
        if self.family != OWN:
            return
        for role, known in CLASSES.items():
            part = getattr(self, role)
            if part is not None and part.class_ not in known:
                raise InputError(f"the card has an unknown {role} {part.class_!r}: {nearest(part.class_, known)}")
            if part is not None:
                _sane(part.args, f"{role}.args")
        for setting in self.advice.fitted:
            _sane(setting.sampler.args, "advice.fitted.sampler.args")
        if (self.text is None) != (self.tokenizer is None):
            raise InputError("the card has a text encoder or a tokenizer, but not both")
        if self.labels:
            self._check_labels()
        _sane(self.words, "words")
        if (self.space.class_ == "Latent") != (self.autoencoder is not None):
            raise InputError(
                f"the card has the space {self.space.class_} with autoencoder {self.autoencoder}: only Latent has one"
            )
        self._check_preview()

    def _check_preview(self) -> None:
        if self.preview is not None and self.autoencoder is None:
            raise InputError("the card has a preview, the small decoder, and no autoencoder: only latents have one")
        if self.preview is None and self.advice.decoder == "small":
            raise InputError("the card's advice.decoder is 'small', and it has no preview, the small decoder")

    def _check_labels(self) -> None:
        _sane(self.labels, "labels")
        if self.text is not None:
            raise InputError("the card has a text encoder and labels: the prompts of a model are one of them")
        if len(set(self.labels)) < len(self.labels) or not all(name and name == name.strip() for name in self.labels):
            raise InputError("the card's labels: each a name of its own, without spaces around it")
        if self.net.args.get("labels") != len(self.labels) + 1:
            raise InputError(
                f"the card has {len(self.labels)} labels, and a network of {self.net.args.get('labels')}: one for each "
                f"and one for no class are needed"
            )

    @property
    def prompted(self) -> bool:
        """Whether the model takes prompts: text, or names of its classes."""
        return self.text is not None or bool(self.labels)


def to_json(card: Card) -> str:
    """Return a card as one line of JSON."""
    return dump(card)


def from_json(text: str, where: str) -> Card:
    """Parse a card. Raises InputError, starting with `where`, for a card that is not valid."""
    return parse(Card, text, where, FORMER_NAMES)


def has_card(path: Path) -> bool:
    """Return whether a path is a model file of this program. Raises InputError if it is no file of weights."""
    return not path.is_dir() and KEY in read_weights_header(path).metadata


def read_card(path: str | os.PathLike[str], header: Header | None = None) -> Card:
    """Read the card of a model file without its tensors. Raises InputError if there is no valid card."""
    text = (header or read_header(path)).metadata.get(KEY)
    if text is None:
        raise InputError(f"{path}: has no card: it is not a model of this program")
    card = from_json(text, f"{path}: card")
    if card.family != OWN:
        raise InputError(f"{path}: card: family {card.family!r}: only {OWN!r} is allowed in files")
    return card


def _sane(value: Any, place: str, depth: int = 0) -> None:
    if isinstance(value, dict | list | tuple):
        if len(value) > LONGEST or depth > 4:
            raise InputError(f"the card's {place} is too long or nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            _sane(item, place, depth + 1)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:  # also NaN
        raise InputError(f"the card's {place} contains {value}, numbers to {LARGEST} are allowed")
    elif isinstance(value, str) and len(value) > LONGEST:
        raise InputError(
            f"the card's {place} contains a string of {len(value)} characters, at most {LONGEST} are allowed"
        )
