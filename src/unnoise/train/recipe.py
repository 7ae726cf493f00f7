"""The recipe of `unnoise train`: a TOML file with the fields of these dataclasses; unknown fields are refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from torch import nn

from unnoise.card import FORMER_NAMES as FORMER_CARD_NAMES, Advice, Part
from unnoise.data.view import Augment
from unnoise.errors import InputError, check_whole
from unnoise.formats.json_text import plain_toml
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict, parse
from unnoise.sampling.kinds import Kind

T = TypeVar("T")
LONGEST_EMA = 0.28  # sigma_rel of an average over the whole run; EDM2, section C.1
COMPILERS = ("g++", "clang++", "cl")  # one of them is needed by torch.compile on a CPU
# Fields of recipes that were written before 0.2, and their names today. A person renames them: a recipe is source.
FORMER_NAMES: Final = FORMER_CARD_NAMES | {
    "fit.rate": "learning_rate",
    "autoencoder.fit.rate": "learning_rate",
    "denoiser.fit.rate": "learning_rate",
    "denoiser.text.rate": "embedding_learning_rate_multiple",
    "denoiser.dropout": "caption_dropout",
    "dropout": "caption_dropout",
    "checkpointing": "gradient_checkpointing",
    "keep": "checkpoints",
    "keep.lengths": "ema_lengths",
    "keep.length": "ema_length",
    "keep.average": "ema_every",
    "keep.snapshot": "snapshot_every",
    "keep.checkpoint": "every",
    "keep.sheet": "sheet_every",
}


@dataclass(frozen=True, slots=True)
class DataOptions(Strict):
    """The data set and its augmentation.

    Args:
        source: `emoji`, a folder, or .tar files.
        size: side in pixels, 8 to 4096.
        views: variations of each image, 1 to 1024, encoded once before the denoiser trains.
        strict: refuse unreadable images.
    """

    source: str
    size: int = 64
    views: int = 8
    strict: bool = False
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        check_whole("size", self.size, 8, 4096)
        check_whole("views", self.views, 1, 1024)


@dataclass(frozen=True, slots=True)
class OptimizerOptions(Strict):
    """The optimizer of one network. The learning rate rises, is constant, and falls linearly to zero.

    Args:
        batch: images a step.
        warmup: steps over which the learning rate rises.
        decay: the last share of the steps, over which the learning rate falls, 0 to 1.
        optimizer: "adamw", or "muon" for hidden weights and AdamW for the rest, at one learning rate.
        clip: largest norm of the gradient.
        bf16: compute in bfloat16; the weights are float32.
        compile: use torch.compile, measured 13 to 38 % faster after one or two minutes; needs a C++ compiler on a CPU.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.5
    optimizer: Literal["adamw", "muon"] = "adamw"
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    bf16: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: at least 1")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} {getattr(self, name):g}: above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas {list(self.betas)}: two numbers from 0, below 1")
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay {self.decay}: a share of the steps, 0 to 1")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, 0-based."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        fall = min(1.0, (self.steps - step) / max(self.decay * self.steps, 1))
        return self.learning_rate * rise * fall


def check_compiler(fit: OptimizerOptions) -> None:
    """Raise InputError where the recipe sets `compile`, and no C++ compiler is installed."""
    if fit.compile and not any(shutil.which(name) for name in COMPILERS):
        raise InputError(f"compile true: needs one of {', '.join(COMPILERS)}; install one, or set compile = false")


def compile_net(net: nn.Module, fit: OptimizerOptions) -> None:
    """Compile a network where the recipe sets `compile`. Raises InputError as `check_compiler` does."""
    check_compiler(fit)
    if fit.compile:
        net.compile()


@dataclass(frozen=True, slots=True)
class AutoencoderOptions(Strict):
    """The autoencoder and its training.

    Args:
        augment: can be stronger than that of the denoiser.
        edges: weight of the loss on differences between neighbouring pixels.
        kl: weight of the KL divergence from N(0, I), a mean over latents.
    """

    fit: OptimizerOptions
    args: dict[str, Any] = field(default_factory=dict)
    augment: Augment = field(default_factory=Augment)
    edges: float = 1.0
    kl: float = 1e-4


@dataclass(frozen=True, slots=True)
class TextOptions(Strict):
    """The text encoder, which is trained with the denoiser.

    Args:
        vocab: tokens that are learnt from the captions.
        length: largest number of tokens of a prompt.
        embedding_learning_rate_multiple: learning rate of the token embeddings, as a multiple of the common one. A rare
            word is updated only where it occurs, and is hardly learnt in a short run at the common learning rate.
    """

    vocab: int = 2048
    width: int = 192
    depth: int = 2
    heads: int = 4
    length: int = 32
    embedding_learning_rate_multiple: float = 1.0


@dataclass(frozen=True, slots=True)
class DenoiserOptions(Strict):
    """The denoiser and its training.

    Args:
        weighting: of the errors at different noise levels.
        level_mean, level_std: noise levels are drawn from ln sigma ~ N(mean, std^2).
        caption_dropout: share of captions left out, 0 to 1; classifier-free guidance needs it.
    """

    fit: OptimizerOptions
    net: Part
    process: Part
    kind: Kind = "flow"
    weighting: str = "flow"
    level_mean: float = 0.0
    level_std: float = 1.0
    caption_dropout: float = 0.1
    text: TextOptions = field(default_factory=TextOptions)


@dataclass(frozen=True, slots=True)
class CheckpointOptions(Strict):
    """What a run saves, and how often, in steps.

    Args:
        ema_lengths: lengths of the two averages of the weights, as shares of the run (sigma_rel of EDM2).
        ema_length: length of the average in the finished model; any value between the two, and can change afterwards.
        ema_every: update of the averages.
        snapshot_every: copies of the averages, from which other lengths are computed.
        every: checkpoints, from which a run resumes.
    """

    ema_lengths: tuple[float, float] = (0.05, 0.1)
    ema_length: float = 0.05
    ema_every: int = 4
    snapshot_every: int = 1000
    every: int = 500
    sheet_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("ema_every", "snapshot_every", "every", "sheet_every"):
            check_whole(f"checkpoints.{name}", getattr(self, name), 1, 10**9)
        low, high = self.ema_lengths
        if not 0 < low < high <= LONGEST_EMA:
            raise InputError(f"checkpoints.ema_lengths {[low, high]}: a shorter and a longer one, to {LONGEST_EMA}")
        if not low <= self.ema_length <= high:
            raise InputError(f"checkpoints.ema_length {self.ema_length:g}: from {low:g} to {high:g}, the ema_lengths")

    def check(self, *fits: OptimizerOptions) -> None:
        """Raise InputError for a run that ends before its weights are averaged once."""
        for fit in fits:
            if fit.steps < self.ema_every:
                raise InputError(f"fit.steps {fit.steps}: at least checkpoints.ema_every, {self.ema_every} steps")


@dataclass(frozen=True, slots=True)
class TrainingRecipe(Strict):
    """Everything that decides a run. The same recipe, versions and machine give the same weights.

    Args:
        advice: defaults for generation, of the card and of contact sheets.
        prompts: of the contact sheets; captions of the data set if empty.
    """

    name: str
    data: DataOptions
    denoiser: DenoiserOptions
    autoencoder: AutoencoderOptions | None = None
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    advice: Advice = field(default_factory=Advice)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = "unknown"

    def __post_init__(self) -> None:
        self.checkpoints.check(*(fit for _, fit in self.fits().values()))

    def fits(self) -> dict[str, tuple[str, OptimizerOptions]]:
        """Return the place and the optimizer of each task, in the order of training."""
        first = {} if self.autoencoder is None else {"autoencoder": ("autoencoder.fit", self.autoencoder.fit)}
        return {**first, "denoiser": ("denoiser.fit", self.denoiser.fit)}


def read_recipe(path: Path) -> TrainingRecipe:
    """Read a TOML recipe. Raises InputError that names the file, the field, its value and what is allowed."""
    return parse_recipe(TrainingRecipe, path)


def parse_recipe(kind: type[T], path: Path) -> T:
    """Read a TOML file as a dataclass. Raises InputError as `read_recipe` does."""
    where = f"recipe {str(path)!r}"
    try:
        table = plain_toml(read_text(path))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    former = [f"{place!r} is now {FORMER_NAMES[place]!r}" for place in _fields(table, "") if place in FORMER_NAMES]
    if former:
        raise InputError(f"{where}: former names of fields: {', '.join(former)}; rename them")
    return parse(kind, json.dumps(table), where)


def _fields(table: dict[str, Any], place: str) -> Iterator[str]:
    for name, value in table.items():
        yield place + name
        if isinstance(value, dict):
            yield from _fields(value, f"{place}{name}.")
