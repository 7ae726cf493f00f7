"""The facts that rules check: those of any tool's file in one form, each with its place.

Readers (`check/read/`) make subjects from files. Rules (`check/rules/`) check them and do not depend on the format of a
file; where a number has different meanings, a rule reads `tool`.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

# Readers and rules import both from here, with what they are parts of.
from unnoise.check.location import Located as Located, Location as Location
from unnoise.check.notebook import Notebook
from unnoise.check.sampler_names import sampler_facts
from unnoise.errors import shortened
from unnoise.families.facts import Facts, facts
from unnoise.families.file_names import stated_side
from unnoise.families.identity import Identity
from unnoise.formats.header import Header
from unnoise.sampling.foreign import SamplerFacts

if TYPE_CHECKING:
    from unnoise.families.lora import Lora

NOBODY = Identity()
Tool = Literal[
    "", "diffusers", "comfyui", "a1111", "forge", "invokeai", "kohya", "sdcpp", "mflux", "swarmui", "fooocus",
    "ai-toolkit", "simpletuner", "onetrainer", "unnoise",
]  # fmt: skip
Role = Literal["checkpoint", "denoiser", "vae", "text", "lora", "controlnet", "embedding", "unknown"]
Kind = Literal["lora", "controlnet", "embedding", "ip_adapter", "motion"]
Trouble = Literal["unreadable", "broken", "partial", "pickle", "unknown", "missing", "unresolved", "crash"]


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the settings of one component as diffusers saves them.

    Args:
        place: of the file, or of the call that makes the component
        role: its name in model_index.json: "scheduler", "unet", "transformer", "vae", "text_encoder", ...
        class_: its class in diffusers
        settings: by name
        complete: a missing key has the default of the class; False where the rest comes from an unknown configuration
        before: the class of `a` where a script calls `B.from_config(a.config, ...)`
        of: the model whose published settings complete those of a script
    """

    place: Location
    role: str
    class_: str
    settings: Mapping[str, Located[Any]]
    complete: bool = True
    before: str = ""
    of: Identity = NOBODY

    def get(self, key: str) -> Located[Any] | None:
        return self.settings.get(key)


@dataclass(frozen=True, slots=True)
class Weights:
    """Describe a file of tensors by its header.

    Args:
        place: of the file
        role: what the file is loaded as
        identity: the family and variant, from names and shapes of tensors
        header: of the file
        format: of the file
        parts: the contents of a checkpoint, of "denoiser", "vae" and "text"
        lora: the modules of a LoRA
        values: the few numbers that were read, by tensor: alphas of a LoRA, and those in `check/read/weights.py`
    """

    place: Location
    role: Role
    identity: Identity
    header: Header
    format: Literal["safetensors", "gguf"] = "safetensors"
    parts: tuple[str, ...] = ()
    lora: "Lora | None" = None
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """Hold a model that a file names.

    Args:
        name: as the file writes it
        place: of the name
        identity: the family and variant, as far as they are known
        weights: its header, if its file was found
        configs: its components by role, if its files were found
        known: facts from its own card, which replace those of the table of families
    """

    name: str
    place: Location
    identity: Identity = NOBODY
    weights: Weights | None = None
    configs: Mapping[str, Config] = field(default_factory=dict)
    known: Facts | None = None

    @property
    def facts(self) -> Facts | None:
        """Return what is known of the model; a size that its name states replaces that of its family."""
        found = self.known or facts(self.identity)
        side = stated_side(self.name) if found is not None and found.modality == "image" and not self.known else None
        return replace(found, size=(side, side)) if found is not None and found.size and side else found


@dataclass(frozen=True, slots=True)
class Use:
    """Apply an adapter to a base.

    Args:
        place: of the name of the adapter
        adapter: the adapter
        base: None where it is not known
        strength: None where it is not stated
        parts: those that it is loaded into, of "denoiser" and "text"
        kind: the type that it is loaded as
    """

    place: Location
    adapter: NamedModel
    base: NamedModel | None
    strength: Located[float] | None = None
    parts: tuple[str, ...] = ("denoiser", "text")
    kind: Kind = "lora"


@dataclass(frozen=True, slots=True)
class Mask:
    """Describe a mask by its pixels; 255 or 1.0 means 1, which is painted.

    Args:
        place: of the file, or of its name
        size: width and height, in pixels
        low, high: least and greatest value, 0 to 1
        soft, ones: share of pixels with a value between 0.02 and 0.98, and above 0.5
        cells: squares of 8 x 8 pixels with a painted pixel
        lost: the cells that are not painted after reducing the mask by 8 with nearest-neighbour sampling
    """

    place: Location
    size: tuple[int, int]
    low: float
    high: float
    soft: float
    ones: float
    cells: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRun:
    """Describe one generation in the numbers of its tool. None means that the file does not state it.

    Args:
        place: of the call, node or record
        tool: whose conventions the numbers follow
        task: "text", "image" (from an image), "inpaint", "edit"
        pipeline: the class of diffusers, or the sampling node of ComfyUI
        schedule: the scheduler of diffusers with its settings
        sampler, grid: names of the sampler and of the spacing of noise levels, as the tool writes them
        guidance: scale of classifier-free guidance
        embedded: guidance scale that the network takes as an input (ComfyUI FluxGuidance, Forge Distilled CFG)
        strength: of image to image, in ComfyUI denoise
        seed_device: the device that draws the noise
        trial: a script only tries whether its code works, or a workflow only loads the models, so that few steps and a
            small size are chosen
        others: every other argument under the name of the tool
    """

    place: Location
    tool: Tool
    task: str = "text"
    pipeline: str = ""
    model: NamedModel | None = None
    vae: NamedModel | None = None
    adapters: tuple[Use, ...] = ()
    schedule: Config | None = None
    sampler: Located[str] | None = None
    grid: Located[str] | None = None
    steps: Located[int] | None = None
    guidance: Located[float] | None = None
    embedded: Located[float] | None = None
    prompt: Located[str] | None = None
    negative: Located[str] | None = None
    width: Located[int] | None = None
    height: Located[int] | None = None
    frames: Located[int] | None = None
    batch: Located[int] | None = None
    strength: Located[float] | None = None
    shift: Located[float] | None = None
    seed: Located[int] | None = None
    seed_device: Located[str] | None = None
    clip_skip: Located[int] | None = None
    dtype: Located[str] | None = None
    mask: Mask | None = None
    image_size: Located[tuple[int, int]] | None = None
    trial: bool = False
    others: Mapping[str, Located[Any]] = field(default_factory=dict)

    @property
    def facts(self) -> Facts | None:
        return self.model.facts if self.model else None

    @property
    def sampler_facts(self) -> SamplerFacts | None:
        """Describe the sampler under its common name; None where it is not stated or not known."""
        settings = {key: setting.value for key, setting in self.schedule.settings.items()} if self.schedule else {}
        name = self.sampler.value if self.sampler else self.schedule.class_ if self.schedule else ""
        return sampler_facts(self.tool, name, settings)


@dataclass(frozen=True, slots=True)
class Training:
    """Describe a training as a file configures it, or as the metadata of a trained file describes it.

    Args:
        place: of the command or the file
        tool: the trainer
        settings: under the names of the tool: arguments of sd-scripts and diffusers without dashes (ss_* keys of a LoRA
            without ss_), dotted keys of a recipe of this program; a flag without a value is True. ai-toolkit,
            SimpleTuner and OneTrainer: dotted keys of the file, and again under sd-scripts' name what means the same
        base: the model that is trained
        script: the file that the command runs, such as "train_network.py"
        complete: a missing setting has its default; False where some are not known, such as those of "$@"
    """

    place: Location
    tool: Tool
    settings: Mapping[str, Located[Any]]
    base: NamedModel | None = None
    script: str = ""
    complete: bool = True

    def get(self, key: str) -> Located[Any] | None:
        return self.settings.get(key)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Describe a folder of training images.

    Args:
        place: of the name of the folder
        pictures: their number
        without_caption: the images that have none
        stale: caches that are older than their image or caption
        extension: of the captions
    """

    place: Location
    pictures: int
    without_caption: tuple[str, ...]
    stale: tuple[str, ...]
    extension: str = ".caption"


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """Hold a parsed Python script.

    Args:
        path: of the file
        tree: its syntax tree
        lines: of the source, without line ends
        constants: names that are assigned once, with their value
    """

    path: str
    tree: ast.Module
    lines: tuple[str, ...]
    constants: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold a number measured on a model or its output, under a name of `check/measure.py`."""

    name: str
    value: float
    place: Location


@dataclass(frozen=True, slots=True)
class ReadFault:
    """Report why a file, or a part of it, could not be read."""

    kind: Trouble
    place: Location
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", shortened(self.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Hold all facts of one file, folder or object.

    Args:
        path: of the file or folder
        tool: that wrote it
        texts: by path; fixes may change them
        notebook: whose cells the script is, so that its lines are those of `notebook.cells`
    """

    path: str
    tool: Tool = ""
    models: tuple[NamedModel, ...] = ()
    weights: tuple[Weights, ...] = ()
    configs: tuple[Config, ...] = ()
    runs: tuple[GenerationRun, ...] = ()
    uses: tuple[Use, ...] = ()
    trainings: tuple[Training, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    masks: tuple[Mask, ...] = ()
    measured: tuple[Measured, ...] = ()
    faults: tuple[ReadFault, ...] = ()
    script: Script | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    notebook: Notebook | None = None
