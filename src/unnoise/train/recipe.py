"""What `unnoise train` is told: a TOML file, field for field these dataclasses; an unknown key is refused."""

import json
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import nn

from unnoise.card import Advice, Part
from unnoise.data.view import Augment
from unnoise.errors import InputError, check_whole
from unnoise.formats.strict_json import Strict, parse
from unnoise.sampling.kinds import Kind

COMPILERS = ("g++", "clang++", "cl")  # what torch.compile looks for on a CPU


@dataclass(frozen=True, slots=True)
class DataOptions(Strict):
    """Which pictures, and how they are varied.

    source: `emoji`, a folder, or .tar files; size: side in pixels, 8 ... 4096; views: how many variations of each
    picture the denoiser sees, 1 ... 1024, encoded once before it starts; strict: refuse a data set with unreadable
    pictures.
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
    """How long and how fast one network learns.

    The rate rises over `warmup` steps, stays, and falls linearly to zero over the last `decay` share of the steps.
    optimizer: "adamw", or "muon" for hidden weights and AdamW for the rest, at one rate; clip: the largest norm of the
    gradient; weight_decay, betas: of AdamW; bf16: compute in bfloat16 over float32 weights; compile: fuse with a C++
    compiler, 13 to 38 % faster where measured, after a minute or two.
    """

    steps: int
    batch: int = 32
    rate: float = 1e-3
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
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay {self.decay}: a share of the steps, 0 to 1")

    def rate_at(self, step: int) -> float:
        """Give the learning rate of a step, 0-based."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        fall = min(1.0, (self.steps - step) / max(self.decay * self.steps, 1))
        return self.rate * rise * fall


def compile_if_asked(net: nn.Module, fit: OptimizerOptions) -> None:
    """Fuse a network's operations where the recipe says so. Raises InputError where there is no C++ compiler for it."""
    if fit.compile and not any(shutil.which(name) for name in COMPILERS):
        raise InputError(f"compile true: needs one of {', '.join(COMPILERS)}; install one, or set compile = false")
    if fit.compile:
        net.compile()


@dataclass(frozen=True, slots=True)
class AutoencoderOptions(Strict):
    """The autoencoder: arguments of its class, its training, and the weights of its loss.

    edges: of the differences between neighbouring pixels; kl: of the divergence from N(0, I), a mean over latents;
    augment: its own views, which may go further than the denoiser's.
    """

    fit: OptimizerOptions
    args: dict[str, Any] = field(default_factory=dict)
    augment: Augment = field(default_factory=Augment)
    edges: float = 1.0
    kl: float = 1e-4


@dataclass(frozen=True, slots=True)
class TextOptions(Strict):
    """The text encoder that is trained with the denoiser.

    vocab: tokens to learn from the captions; rate: of the token embeddings, as a multiple of the learning rate. A rare
    word is updated only where it occurs, and at the common rate is hardly learnt in a short run.
    """

    vocab: int = 2048
    width: int = 192
    depth: int = 2
    heads: int = 4
    length: int = 32
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class DenoiserOptions(Strict):
    """The denoiser: network, process, kind, how levels are drawn (ln sigma ~ N(mean, std^2)) and errors weighed.

    dropout: share of captions left out, which is what classifier-free guidance later needs.
    """

    fit: OptimizerOptions
    net: Part
    process: Part
    kind: Kind = "flow"
    weighting: str = "flow"
    level_mean: float = 0.0
    level_std: float = 1.0
    dropout: float = 0.1
    text: TextOptions = field(default_factory=TextOptions)


@dataclass(frozen=True, slots=True)
class CheckpointOptions(Strict):
    """What is kept on the way: EMA lengths (share of the run, EDM2's sigma_rel), and how often, in steps.

    length: the EMA that the finished model has, any value between the tracks, chosen afterwards.
    """

    lengths: tuple[float, float] = (0.05, 0.1)
    length: float = 0.05
    average: int = 4
    snapshot: int = 1000
    checkpoint: int = 500
    sheet: int = 1000

    def check(self, *fits: OptimizerOptions) -> None:
        """Raise InputError for a run that ends before its weights are averaged once."""
        for fit in fits:
            if fit.steps < self.average:
                raise InputError(f"fit.steps {fit.steps}: weights are averaged every keep.average {self.average} steps")


@dataclass(frozen=True, slots=True)
class TrainingRecipe(Strict):
    """Everything that decides a run; the same recipe, versions and machine give the same weights."""

    name: str
    data: DataOptions
    denoiser: DenoiserOptions
    autoencoder: AutoencoderOptions | None = None
    keep: CheckpointOptions = field(default_factory=CheckpointOptions)
    advice: Advice = field(default_factory=Advice)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = "unknown"

    def __post_init__(self) -> None:
        self.keep.check(self.denoiser.fit, *(() if self.autoencoder is None else (self.autoencoder.fit,)))


def read_recipe(path: Path) -> TrainingRecipe:
    """Read a TOML recipe. Raises InputError that names the file, the field, its value and what is allowed."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"recipe {str(path)!r}: {error}") from error
    return parse(TrainingRecipe, json.dumps(table), f"recipe {str(path)!r}")
