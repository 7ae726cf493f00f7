"""What a person can ask of `generate` and `edit`, declared once.

The command line, the keywords of Python, the metadata of an output and `unnoise check` all read these dataclasses. A
field carries its name, type and default; its `Option` carries range, group and help.
"""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_type_hints

from unnoise.errors import InputError, check_whole, nearest
from unnoise.generation import limits
from unnoise.generation.other_names import OTHER_NAMES
from unnoise.sampling.grid import explicit
from unnoise.sampling.registry import resolve_name, resolve_schedule
from unnoise.sampling.state import Sampler
from unnoise.text.prompt_weighting import PROMPT_WEIGHTINGS, PromptWeighting

ValueKind = Literal[
    "whole", "number", "text", "choice", "levels", "size", "sides", "image", "lora", "flag", "sampler", "schedule"
]
Group = Literal["basic", "guidance", "image input", "control", "adapters", "output", "advanced"]
MaskMode = Literal["blend", "differential"]
MASK_MODES: Final[tuple[MaskMode, ...]] = ("blend", "differential")
SIDES: Final = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Option:
    """Describe one option.

    Args:
        kind: how a value is checked, and read on the command line.
        group: the heading of `--help` under which it stands.
        help: one line for people.
        low, high: the range of a number.
        choices: the allowed words.
        card: the field of the card's advice that is the default.
        spelling: on the command line, where it is not the field's name.
        python_only: the option has no form on the command line.
    """

    kind: ValueKind
    group: Group
    help: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    card: str = ""
    spelling: tuple[str, ...] = ()
    python_only: bool = False


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How samples are drawn; None is the default of the model's card."""

    negative_prompt: Annotated[str, Option("text", "guidance", "What guidance leads away from.")] = ""
    steps: Annotated[int | None, Option("whole", "basic", "Sampler steps.", 1, limits.STEPS, card="steps")] = None
    guidance_scale: Annotated[
        float | None,
        Option(
            "number", "basic", "Classifier-free guidance; 1 is off.", 0, limits.GUIDANCE,
            card="guidance_scale", spelling=("--guidance-scale", "--guidance"),
        ),
    ] = None  # fmt: skip
    sampler: Annotated[
        str | Sampler[Any, Any] | None, Option("sampler", "basic", "Update rule, by any of its names.", card="sampler")
    ] = None
    schedule: Annotated[
        str | tuple[float, ...] | None,
        Option("schedule", "basic", "Spacing of the noise levels, or every level: inf,8,1,0.", card="schedule"),
    ] = None
    seed: Annotated[int | None, Option("whole", "basic", "Seed; sample k has seed + k.", 0, limits.SEEDS - 1)] = None
    n: Annotated[
        int, Option("whole", "basic", "Samples of each prompt.", 1, limits.SAMPLES, spelling=("--n", "-n"))
    ] = 1
    size: Annotated[
        tuple[int, int] | None, Option("size", "basic", "WIDTHxHEIGHT in pixels, or one number.", 1, card="sizes")
    ] = None
    frames: Annotated[
        int | None, Option("whole", "advanced", "Frames of a video.", 1, limits.FRAMES, card="frames")
    ] = None
    seconds: Annotated[
        float | None, Option("number", "advanced", "Seconds of audio.", 1e-3, limits.SECONDS, card="seconds")
    ] = None
    guidance_interval: Annotated[
        tuple[float, float] | None,
        Option("levels", "guidance", "Levels LOW,HIGH between which guidance acts.", card="guidance_interval"),
    ] = None
    guidance_rescale: Annotated[
        float | None,
        Option("number", "guidance", "Take contrast of strong guidance back.", 0, 1,
               card="guidance_rescale"),
    ] = None  # fmt: skip
    distilled_guidance: Annotated[
        float | None,
        Option("number", "guidance", "Guidance that is an input of a distilled network.", 0, limits.GUIDANCE,
               card="distilled_guidance"),
    ] = None  # fmt: skip
    image_guidance: Annotated[
        float | None,
        Option("number", "guidance", "Guidance of the image, of instruction models.", 0,
               limits.GUIDANCE, card="image_guidance"),
    ] = None  # fmt: skip
    prompt_weighting: Annotated[
        PromptWeighting,
        Option(
            "choice", "advanced", 'What "(word:1.3)" is: an error, a weight, plain text.', choices=PROMPT_WEIGHTINGS
        ),
    ] = "refuse"
    variation: Annotated[
        float | None, Option("number", "advanced", "Share of the way to the noise of --variation-seed.", 0, 1)
    ] = None
    variation_seed: Annotated[
        int | None,
        Option("whole", "advanced", "Seed of the first variation; variation k has + k.", 0, limits.SEEDS - 1),
    ] = None
    blend_prompt: Annotated[str | None, Option("text", "advanced", "Second prompt, blended with PROMPT.")] = None
    blend_share: Annotated[
        float | None, Option("number", "advanced", "Share of --blend-prompt, 0.5 unless given.", 0, 1)
    ] = None
    tile: Annotated[int | None, Option("whole", "advanced", "Tiled: side of the tiles, pixels.", 1, limits.SIDE)] = None
    batch: Annotated[int | None, Option("whole", "advanced", "Samples in one network call.", 1, limits.SAMPLES)] = None
    dtype: Annotated[
        str | None, Option("choice", "advanced", "Numbers that the network computes with.", choices=limits.DTYPES)
    ] = None
    noise: Annotated[Any, Option("image", "advanced", "Starting noise, (samples, *x0).", python_only=True)] = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.seed is not None:
            check_whole("seed", self.seed, 0, limits.SEEDS - self.n)
        if isinstance(self.schedule, tuple):
            steps = len(explicit(self.schedule)) - 1
            check_whole("steps of the schedule", steps, 1, limits.STEPS)
            if self.steps not in (None, steps):
                raise InputError(f"steps {self.steps}: the schedule has {steps} steps; give one of the two")
        for first, second in (("variation", "variation_seed"), ("blend_share", "blend_prompt")):
            if getattr(self, first) is not None and getattr(self, second) is None:
                raise InputError(f"{first} {getattr(self, first)!r}: needs {second}")
        if self.variation is None and self.variation_seed is not None:
            raise InputError(f"variation_seed {self.variation_seed}: needs variation, 0 to 1")


@dataclass(frozen=True, slots=True)
class EditOptions:
    """The image that is changed, and how (img2img, inpaint, outpaint)."""

    image: Annotated[Any, Option("image", "image input", "Image to start from (img2img).")] = None
    mask: Annotated[
        Any, Option("image", "image input", "Mask: white or transparent is painted (inpaint), black is kept.")
    ] = None
    invert_mask: Annotated[bool, Option("flag", "image input", "Paint what is black in the mask.")] = False
    strength: Annotated[float | None, Option("number", "image input", "Amount of change; 1 ignores it.", 1e-3, 1)] = (
        None
    )
    outpaint: Annotated[
        tuple[int, int, int, int] | None,
        Option("sides", "image input", "Pixels to add: LEFT,TOP,RIGHT,BOTTOM.", 0, limits.SIDE),
    ] = None
    source_prompt: Annotated[
        str | None, Option("text", "image input", "What the image shows; it is inverted to its noise first.")
    ] = None
    feather: Annotated[
        int | None,
        Option("whole", "image input", "Pixels of the seam, half a latent cell unless given.", 0, limits.SIDE),
    ] = None
    mask_mode: Annotated[
        MaskMode,
        Option("choice", "image input", "What a grey of the mask is: a mixture, a strength.",
               choices=MASK_MODES),
    ] = "blend"  # fmt: skip
    resample: Annotated[
        int | None,
        Option("whole", "image input", "RePaint: times that each stretch of steps is taken.", 1, limits.RESAMPLES),
    ] = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.outpaint is not None and not any(self.outpaint):
            raise InputError("outpaint 0,0,0,0: adds no pixels; give a positive number for one side")


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """Images that guide what is drawn: of a ControlNet, of an IP-Adapter."""

    control_image: Annotated[Any, Option("image", "control", "Image whose shapes the control follows.")] = None
    control_scale: Annotated[
        float | None, Option("number", "control", "Weight of the control, 1 as trained.", 0, limits.SCALE)
    ] = None
    ip_adapter_image: Annotated[Any, Option("image", "control", "Image that the IP-Adapter imitates.")] = None
    ip_adapter_scale: Annotated[
        float | None, Option("number", "control", "Weight of the IP-Adapter, 1 as trained.", 0, limits.SCALE)
    ] = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """LoRA adapters that are applied."""

    lora: Annotated[
        Any, Option("lora", "adapters", "LoRA as FILE or FILE:WEIGHT, weight -4 to 4; may be repeated.")
    ] = ()
    partial: Annotated[bool, Option("flag", "adapters", "Apply a LoRA of which only some layers fit.")] = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How work is shown while it runs."""

    progress: Annotated[bool, Option("flag", "output", "Show a bar for anything over a second.", python_only=True)] = (
        True
    )

    def __post_init__(self) -> None:
        check_fields(self)


OPTIONS: Final = (SamplingOptions, EditOptions, ControlOptions, AdapterOptions, OutputOptions)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that one call asks for. Raises InputError for the first option that is out of range."""

    prompts: tuple[str, ...]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    edit: EditOptions = field(default_factory=EditOptions)
    control: ControlOptions = field(default_factory=ControlOptions)
    adapters: AdapterOptions = field(default_factory=AdapterOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError("prompt: none is given; an empty text draws from the unconditional model")
        for prompt in self.prompts:
            limits.check_text("prompt", prompt)
        if len(self.prompts) * self.sampling.n > limits.ALL:
            raise InputError(
                f"{len(self.prompts)} prompts of n {self.sampling.n}: at most {limits.ALL} samples in one request"
            )
        if self.edit.strength is not None and isinstance(self.sampling.schedule, tuple):
            raise InputError("strength: cannot be combined with explicit levels of a schedule; leave one of them out")
        if self.edit.resample is not None and self.sampling.sampler is not None:
            raise InputError(f"sampler {self.sampling.sampler!r}: resample has its own sampler; leave one of them out")


def request_of(prompts: str | tuple[str, ...] | list[str], **options: Any) -> Request:
    """Make a request of flat keywords.

    Args:
        prompts: one prompt or several.
        options: fields of the five option classes, by name.

    Raises:
        InputError: an option is unknown, out of range, or cannot act.
    """
    homes = home_of_options()
    for name in options:
        if name not in homes:
            raise InputError(unknown_option(name))
    made: list[Any] = [
        kind(**{key: _plain(key, value) for key, value in options.items() if homes[key] is kind}) for kind in OPTIONS
    ]
    return Request((prompts,) if isinstance(prompts, str) else tuple(prompts), *made)


def unknown_option(name: str) -> str:
    """Say what an unknown keyword may have meant."""
    if name in OTHER_NAMES:
        return f"{name}: unknown here; use {OTHER_NAMES[name]}"
    return f"{name}: unknown option: {nearest(name, home_of_options())}"


@lru_cache
def home_of_options() -> dict[str, Any]:
    """Name the class of every option."""
    return {one.name: kind for kind in OPTIONS for one in fields(kind)}


@lru_cache
def described(kind: Any) -> dict[str, Option]:
    """Give the `Option` of every field of an option class."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name].__metadata__[0] for one in fields(kind)}


def _plain(name: str, value: Any) -> Any:
    """Bring what people write in Python to the type of the field: one number for both sides, lists for tuples."""
    if name == "size" and isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if name == "lora":
        return () if value is None else value
    return tuple(value) if isinstance(value, list) else value


def split_weight(one: Any) -> tuple[Any, float]:
    """Split "FILE:WEIGHT"; anything else has weight 1."""
    name, colon, number = one.rpartition(":") if isinstance(one, str) else ("", "", "")
    try:
        return (name, float(number)) if colon and name else (one, 1.0)
    except ValueError:
        return one, 1.0


def check_fields(options: Any) -> None:
    """Raise InputError for the first field that is out of its range."""
    kind: Any = type(options)
    defaults = {one.name: one.default for one in fields(kind)}
    for name, option in described(kind).items():
        value = getattr(options, name)
        if value is not None or defaults[name] is not None:
            _check(name, value, option)


def _check(name: str, value: Any, option: Option) -> None:
    if option.kind == "whole":
        check_whole(name, value, int(option.low), int(option.high))
    elif option.kind == "number":
        limits.check_number(name, value, option.low, option.high)
    elif option.kind == "text":
        limits.check_text(name, value)
    elif option.kind == "choice" and value not in option.choices:
        raise InputError(f"{name} {value!r}: {nearest(str(value), option.choices)}")
    elif option.kind == "flag" and not isinstance(value, bool):
        raise InputError(f"{name} {value!r}: true or false")
    elif option.kind == "size":
        limits.check_size(value)
    elif option.kind == "levels":
        limits.check_levels(name, value)
    elif option.kind == "sides":
        if not isinstance(value, tuple | list) or len(value) != len(SIDES):
            raise InputError(f"{name} {value!r}: four whole numbers, pixels at {', '.join(SIDES)}")
        for side, pixels in zip(SIDES, value, strict=True):
            check_whole(f"{name} {side}", pixels, int(option.low), int(option.high))
    elif option.kind == "sampler":
        if isinstance(value, str):
            resolve_name(value)
        elif not hasattr(value, "advance"):
            raise InputError(f"sampler {value!r}: a name, or an object with the method `advance`")
    elif option.kind == "schedule" and isinstance(value, str):
        resolve_schedule(value)
