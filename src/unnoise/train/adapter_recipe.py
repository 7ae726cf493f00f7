"""What `unnoise lora train` and `unnoise control train` are told: a TOML file, field for field these dataclasses."""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from unnoise.data.view import Augment
from unnoise.errors import InputError, check_whole
from unnoise.formats.strict_json import Strict, parse
from unnoise.generation.limits import check_number
from unnoise.train.recipe import CheckpointOptions, DataOptions, OptimizerOptions

STILL = Augment(background=0.0, move=0.0, shift=0.0, scale=0.0, hue=0.0)


@dataclass(frozen=True, slots=True)
class LoraOptions(Strict):
    """What is learned, and where.

    rank: rows of A, 1 ... 1024; alpha: A and B count alpha/rank, above 0; targets: groups of layers, `attention`,
    `feed-forward`, `convolution`, `text`, or ends of layers' names; dropout: share of a layer's inputs that A does not
    see, 0 ... 0.9; dora: each row of a weight learns its magnitude too.
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ("attention",)
    dropout: float = 0.0
    dora: bool = False

    def __post_init__(self) -> None:
        check_whole("rank", self.rank, 1, 1024)
        check_number("alpha", self.alpha, 1e-6, 1e6)
        check_number("dropout", self.dropout, 0, 0.9)
        if not self.targets:
            raise InputError("targets: none; an adapter changes at least one group of layers")


@dataclass(frozen=True, slots=True)
class PriorOptions(Strict):
    """What the base is to go on doing: it draws `count` pictures of these prompts first, and learns them as they are.

    share: of each batch, 0 ... 0.9.   Source: Ruiz et al. 2023 (DreamBooth), eq. 2.
    """

    prompts: tuple[str, ...]
    count: int = 64
    share: float = 0.25

    def __post_init__(self) -> None:
        check_whole("prior.count", self.count, len(self.prompts) or 1, 100_000)
        check_number("prior.share", self.share, 0, 0.9)
        if not self.prompts:
            raise InputError("prior.prompts: none; what is the base to go on drawing?")


@dataclass(frozen=True, slots=True)
class ControlNetOptions(Strict):
    """A control, which learns to follow outlines: channels of its features at the finest level, 16 ... 512."""

    width: int = 48

    def __post_init__(self) -> None:
        check_whole("width", self.width, 16, 512)


@dataclass(frozen=True, slots=True)
class AdapterRecipe(Strict):
    """Everything that decides the training of an adapter: of a LoRA, or of a control.

    base: name, file or folder of the model; lora, control: what is trained, one of them; trigger: words in front of
    every caption; dtype: of a base of another maker; weighting: of errors, by the kind of the base unless given;
    level_mean, level_std: ln sigma ~ N(mean, std^2), uniform on the base's clock unless given; dropout: share of
    captions left out; checkpointing: compute activations again on the way back, which takes longer and less memory.
    """

    name: str
    data: DataOptions
    fit: OptimizerOptions
    base: str = "emoji"
    trigger: str = ""
    lora: LoraOptions | None = None
    control: ControlNetOptions | None = None
    prior: PriorOptions | None = None
    dtype: str = "float32"
    weighting: str | None = None
    level_mean: float | None = None
    level_std: float | None = None
    dropout: float = 0.1
    checkpointing: bool = False
    keep: CheckpointOptions = field(default_factory=CheckpointOptions)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = "unknown"

    def __post_init__(self) -> None:
        check_number("dropout", self.dropout, 0, 1)
        self.keep.check(self.fit)
        if (self.level_mean is None) != (self.level_std is None):
            raise InputError("level_mean and level_std: act together, and one of them is missing")
        if (self.lora is None) == (self.control is None):
            raise InputError(
                "lora, control: a recipe has one of them, [lora] for an adapter of layers, [control] for outlines"
            )


def read_adapter_recipe(path: Path) -> AdapterRecipe:
    """Read a TOML recipe. Raises InputError that names the file, the field, its value and what is allowed."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"recipe {str(path)!r}: {error}") from error
    return parse(AdapterRecipe, json.dumps(table), f"recipe {str(path)!r}")
