"""What a person can ask of `generate` and `edit`, declared once.

The command line, the keywords of Python, the metadata of an output and `unnoise check` all read these dataclasses. A
field carries its name, type and default; its `Option` carries range, group and help.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from unnoise.card import Decoder
from unnoise.errors import InputError, check_whole
from unnoise.generation import limits
from unnoise.generation.option import Option, check_fields
from unnoise.sampling.grid import explicit
from unnoise.sampling.state import Sampler
from unnoise.text.prompt_weighting import PROMPT_WEIGHTINGS, PromptWeighting

MaskMode = Literal["blend", "differential"]
MASK_MODES: Final[tuple[MaskMode, ...]] = ("blend", "differential")
DECODERS: Final[tuple[Decoder, ...]] = ("full", "small")
ControlResize = Literal["crop", "pad", "stretch"]
CONTROL_RESIZES: Final[tuple[ControlResize, ...]] = ("crop", "pad", "stretch")


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
            "choice", "advanced", 'A1111 syntax, such as "(cat:1.3)": plain text (warn, literal), error, applied.',
            choices=PROMPT_WEIGHTINGS,
        ),
    ] = "warn"  # fmt: skip
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
    original_size: Annotated[
        tuple[int, int] | None,
        Option("size", "advanced", "SDXL: size of the image before it was resized.", 1, limits.PICTURE),
    ] = None
    crop_top_left: Annotated[
        tuple[int, int] | None, Option("corner", "advanced", "SDXL: pixels cut off, TOP,LEFT.", 0, limits.PICTURE)
    ] = None
    target_size: Annotated[
        tuple[int, int] | None,
        Option("size", "advanced", "SDXL: size that the image was resized to.", 1, limits.PICTURE),
    ] = None
    aesthetic_score: Annotated[
        float | None,
        Option("number", "advanced", "SDXL's refiner: score of the image, 6 unless given.", 0, limits.AESTHETIC),
    ] = None
    negative_original_size: Annotated[
        tuple[int, int] | None, Option("size", "advanced", "The same, with the negative prompt.", 1, limits.PICTURE)
    ] = None
    negative_crop_top_left: Annotated[
        tuple[int, int] | None, Option("corner", "advanced", "The same, with the negative prompt.", 0, limits.PICTURE)
    ] = None
    negative_target_size: Annotated[
        tuple[int, int] | None, Option("size", "advanced", "The same, with the negative prompt.", 1, limits.PICTURE)
    ] = None
    negative_aesthetic_score: Annotated[
        float | None, Option("number", "advanced", "The same, with the negative prompt, 2.5.", 0, limits.AESTHETIC)
    ] = None
    dtype: Annotated[
        str | None, Option("choice", "advanced", "Numbers that the network computes with.", choices=limits.DTYPES)
    ] = None
    vae_dtype: Annotated[
        str | None, Option("choice", "advanced", "Numbers that the autoencoder computes with.", choices=limits.DTYPES)
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
    control_resize: Annotated[
        ControlResize,
        Option("choice", "control", "How a control image of another shape is fitted.", choices=CONTROL_RESIZES),
    ] = "crop"
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
        Any,
        Option("lora", "adapters", "LoRA as FILE, FILE:WEIGHT or FILE:WEIGHT@NETWORK, -4 to 4; may be repeated."),
    ] = ()
    partial: Annotated[bool, Option("flag", "adapters", "Apply a LoRA of which only some layers fit.")] = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How x0 becomes what people see, and how work is shown while it runs."""

    progress: Annotated[bool, Option("flag", "output", "Show a bar for anything over a second.", python_only=True)] = (
        True
    )
    decoder: Annotated[
        Decoder | None,
        Option("choice", "advanced", "Decoder: the small one is faster, less sharp.", choices=DECODERS, card="decoder"),
    ] = None

    def __post_init__(self) -> None:
        check_fields(self)


OPTIONS: Final = (SamplingOptions, EditOptions, ControlOptions, AdapterOptions, OutputOptions)
