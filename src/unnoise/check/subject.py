"""What is checked: the facts that any tool's file holds, in one shape, each with the place where it is said.

Readers (`check/read/`) make subjects from files, rules (`check/rules/`) judge them. A rule never asks which format a
fact came from; where tools mean different things by one number, it asks for `tool`.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from unnoise.check.methods import Method, method
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity
from unnoise.formats.header import Header

if TYPE_CHECKING:
    from unnoise.families.lora import Lora

T = TypeVar("T")
NOBODY = Identity()
Tool = Literal["", "diffusers", "comfyui", "a1111", "forge", "invokeai", "kohya", "sdcpp", "mflux", "unnoise"]
Role = Literal["checkpoint", "denoiser", "vae", "text", "lora", "controlnet", "embedding", "unknown"]
Kind = Literal["lora", "controlnet", "embedding", "ip_adapter"]
Trouble = Literal["unreadable", "broken", "pickle", "unknown", "missing", "crash"]


@dataclass(frozen=True, slots=True)
class Place:
    """Say where: a file, and in it keys of JSON or TOML, a tensor, a key of infotext, or lines and columns.

    keys: from the root, such as ("3", "inputs", "cfg") or a tensor's name alone; line, end_line: from 1; column,
    end_column: letters from 0, the end exclusive, as `ast` counts but in letters, not bytes.
    """

    path: str
    keys: tuple[str | int, ...] = ()
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None

    def same(self, other: "Place") -> bool:
        """Say whether two places are one, though only one of them may have been given its lines."""
        if (self.path, self.keys) != (other.path, other.keys):
            return False
        lined = self.line is not None and other.line is not None
        return (self.line, self.column) == (other.line, other.column) if lined or not self.keys else True


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """Hold a value and the place that says it."""

    value: T
    place: Place


@dataclass(frozen=True, slots=True)
class Config:
    """Hold the settings of one component as diffusers saves them.

    role: its name in model_index.json, "scheduler", "unet", "transformer", "vae", "text_encoder", ...; class_: as said
    there; complete: True where it is a whole saved file, so that a missing key takes the default of the class; False
    where only these settings are known, the rest being those of a configuration that is not at hand; before: the class
    whose configuration it was made from, where a script says `B.from_config(a.config, ...)`.
    """

    place: Place
    role: str
    class_: str
    settings: Mapping[str, Said[Any]]
    complete: bool = True
    before: str = ""

    def get(self, key: str) -> Said[Any] | None:
        return self.settings.get(key)


@dataclass(frozen=True, slots=True)
class Weights:
    """Describe a file of tensors by its header.

    parts: what a checkpoint holds, of "denoiser", "vae", "text"; values: the few numbers that were read from it, by
    tensor: every alpha of a LoRA, and what `check/read/weights.py` lists.
    """

    place: Place
    role: Role
    identity: Identity
    header: Header
    format: Literal["safetensors", "gguf"] = "safetensors"
    parts: tuple[str, ...] = ()
    lora: "Lora | None" = None
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """Hold a model that a file names, with what could be found out about it.

    name: as the file says it; weights: its header, and configs: its components by role, where its files were at hand;
    known: facts that come from its own card and not from the table of families.
    """

    name: str
    place: Place
    identity: Identity = NOBODY
    weights: Weights | None = None
    configs: Mapping[str, Config] = field(default_factory=dict)
    known: Facts | None = None

    @property
    def facts(self) -> Facts | None:
        return self.known or facts(self.identity)


@dataclass(frozen=True, slots=True)
class Use:
    """Put an adapter on a base; strength: None where it is not said.

    parts: which parts of it are loaded, of "denoiser" and "text"; kind: what it is loaded as.
    """

    place: Place
    adapter: Model
    base: Model | None
    strength: Said[float] | None = None
    parts: tuple[str, ...] = ("denoiser", "text")
    kind: Kind = "lora"


@dataclass(frozen=True, slots=True)
class Mask:
    """Describe a mask by its pixels; 255 or 1.0 means 1, which is painted.

    low, high: least and greatest value in 0 ... 1; soft: share of pixels with a value between 0.02 and 0.98; ones:
    share above 0.5; cells: squares of 8 x 8 pixels that hold a painted one, and lost: how many of them are not painted
    once the mask is reduced by 8 with the nearest neighbour.
    """

    place: Place
    size: tuple[int, int]
    low: float
    high: float
    soft: float
    ones: float
    cells: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Describe one generation as a file asks for it, in the tool's own numbers; None is what the file does not say.

    task: "text", "image" (from a picture), "inpaint", "edit"; pipeline: diffusers' class, or ComfyUI's sampling node;
    sampler, grid: the tool's own names; schedule: diffusers' scheduler with its settings; guidance: of classifier-free
    guidance; embedded: of a net that takes the weight as input (ComfyUI FluxGuidance, Forge Distilled CFG); strength:
    denoise; seed_device: where the noise is drawn; others: every other argument under the tool's own name.
    """

    place: Place
    tool: Tool
    task: str = "text"
    pipeline: str = ""
    model: Model | None = None
    vae: Model | None = None
    adapters: tuple[Use, ...] = ()
    schedule: Config | None = None
    sampler: Said[str] | None = None
    grid: Said[str] | None = None
    steps: Said[int] | None = None
    guidance: Said[float] | None = None
    embedded: Said[float] | None = None
    prompt: Said[str] | None = None
    negative: Said[str] | None = None
    width: Said[int] | None = None
    height: Said[int] | None = None
    frames: Said[int] | None = None
    batch: Said[int] | None = None
    strength: Said[float] | None = None
    shift: Said[float] | None = None
    seed: Said[int] | None = None
    seed_device: Said[str] | None = None
    clip_skip: Said[int] | None = None
    dtype: Said[str] | None = None
    mask: Mask | None = None
    image_size: Said[tuple[int, int]] | None = None
    others: Mapping[str, Said[Any]] = field(default_factory=dict)

    @property
    def facts(self) -> Facts | None:
        return self.model.facts if self.model else None

    @property
    def method(self) -> Method | None:
        """Give what the sampler is, whatever the tool calls it; None where it is not said or not known."""
        settings = {key: said.value for key, said in self.schedule.settings.items()} if self.schedule else {}
        name = self.sampler.value if self.sampler else self.schedule.class_ if self.schedule else ""
        return method(self.tool, name, settings)


@dataclass(frozen=True, slots=True)
class Training:
    """Describe a training as a file asks for it, or as a trained file says it was made.

    settings: under the tool's own names: sd-scripts' arguments without dashes (a LoRA's ss_* keys without ss_), those
    of diffusers' scripts without dashes, the dotted keys of a recipe of this program; a flag without a value is True.
    script: the file that the command runs, such as "train_network.py".
    """

    place: Place
    tool: Tool
    settings: Mapping[str, Said[Any]]
    base: Model | None = None
    script: str = ""

    def get(self, key: str) -> Said[Any] | None:
        return self.settings.get(key)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Describe a folder of training pictures: how many, which have no caption, which have a cache that is older."""

    place: Place
    pictures: int
    without_caption: tuple[str, ...]
    stale: tuple[str, ...]
    extension: str = ".caption"


@dataclass(frozen=True, slots=True)
class Script:
    """Hold a parsed Python script; constants: names that are assigned once, with their value; lines: of the source."""

    path: str
    tree: ast.Module
    lines: tuple[str, ...]
    constants: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold a number that was measured on a model or its output, under a name of `check/measure.py`."""

    name: str
    value: float
    place: Place


@dataclass(frozen=True, slots=True)
class Fault:
    """Say why a file, or a part of it, could not be read."""

    kind: Trouble
    place: Place
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Hold all that one file, folder or object says. texts: what may be edited by a fix, by path."""

    path: str
    tool: Tool = ""
    models: tuple[Model, ...] = ()
    weights: tuple[Weights, ...] = ()
    configs: tuple[Config, ...] = ()
    runs: tuple[Run, ...] = ()
    uses: tuple[Use, ...] = ()
    trainings: tuple[Training, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    masks: tuple[Mask, ...] = ()
    measured: tuple[Measured, ...] = ()
    faults: tuple[Fault, ...] = ()
    script: Script | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
