"""The recipe of `unnoise lora train` and `unnoise control train`: a TOML file with the fields of these dataclasses."""

from dataclasses import dataclass, field
from pathlib import Path

from unnoise.errors import InputError, check_number, check_whole
from unnoise.formats.strict_json import Strict
from unnoise.train.recipe import CheckpointOptions, DataOptions, OptimizerOptions, parse_recipe


@dataclass(frozen=True, slots=True)
class LoraOptions(Strict):
    """A LoRA: the layers that it changes, and its size.

    Args:
        rank: rows of A, 1 to 1024.
        alpha: B·A is scaled by alpha/rank, above 0.
        targets: groups of layers (`attention`, `feed-forward`, `convolution`, `text`), or ends of layers' names.
        dropout: share of a layer's inputs that are set to zero for A, 0 to 0.9.
        dora: also learn the magnitude of each row of a weight.
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
            raise InputError("targets: none; name at least one group of layers")


@dataclass(frozen=True, slots=True)
class PriorOptions(Strict):
    """Prior preservation: images that the base generates before the training are part of each batch.

    Args:
        prompts: of these images.
        count: number of images, at least one for each prompt.
        share: of each batch, 0 to 0.9.

    Source: Ruiz et al. 2023 (DreamBooth), eq. 2.
    """

    prompts: tuple[str, ...]
    count: int = 64
    share: float = 0.25

    def __post_init__(self) -> None:
        check_whole("prior.count", self.count, len(self.prompts) or 1, 100_000)
        check_number("prior.share", self.share, 0, 0.9)
        if not self.prompts:
            raise InputError("prior.prompts: none; give at least one prompt")


@dataclass(frozen=True, slots=True)
class ControlNetOptions(Strict):
    """A ControlNet for outlines. width: channels of its features at the finest level, 16 to 512."""

    width: int = 48

    def __post_init__(self) -> None:
        check_whole("width", self.width, 16, 512)


@dataclass(frozen=True, slots=True)
class AdapterRecipe(Strict):
    """Everything that decides the training of a LoRA or a ControlNet.

    Args:
        base: name, file or folder of the model.
        lora, control: the adapter; exactly one of the two.
        trigger: words that are put in front of every caption.
        dtype: of the weights of a foreign base.
        weighting: of the errors at different noise levels; None uses the kind of the base.
        level_mean, level_std: noise levels are drawn from ln sigma ~ N(mean, std^2); None draws them uniformly in the
            time of the base's process.
        caption_dropout: share of captions left out, 0 to 1.
        gradient_checkpointing: recompute activations in the backward pass: slower, with less memory.
        prompts: of the contact sheets; captions of the data set if empty.
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
    caption_dropout: float = 0.1
    gradient_checkpointing: bool = False
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = "unknown"

    def __post_init__(self) -> None:
        check_number("caption_dropout", self.caption_dropout, 0, 1)
        self.checkpoints.check(self.fit)
        if (self.level_mean is None) != (self.level_std is None):
            raise InputError("level_mean and level_std: one of them is missing; set both or neither")
        if (self.lora is None) == (self.control is None):
            raise InputError("lora, control: set exactly one of them, [lora] for a LoRA, [control] for a ControlNet")


def read_adapter_recipe(path: Path) -> AdapterRecipe:
    """Read a TOML recipe. Raises InputError that names the file, the field, its value and what is allowed."""
    return parse_recipe(AdapterRecipe, path)
