"""The recipe of `unnoise train`: a TOML file with the fields of these dataclasses; unknown fields are refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from unnoise.card import FORMER_NAMES as FORMER_CARD_NAMES, Advice, Part
from unnoise.data.augment import Augment, colour_of
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_unchecked
from unnoise.data.readable import checked
from unnoise.data.split import MOST_HELD_OUT
from unnoise.errors import InputError, check_number, check_whole, quoted
from unnoise.formats.json_text import plain_toml
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict, parse
from unnoise.sampling.kinds import Kind
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions

T = TypeVar("T")
LONGEST_NAME: Final = 200  # letters
MOST_CAPTIONS: Final = 256  # of a view
# Fields of recipes that were written before 0.2, and their names today. A person renames them: a recipe is source.
FORMER_NAMES: Final = FORMER_CARD_NAMES | {
    "fit.rate": "learning_rate",
    "autoencoder.fit.rate": "learning_rate",
    "denoiser.fit.rate": "learning_rate",
    "denoiser.text.rate": "embedding_learning_rate_multiple",
    "denoiser.dropout": "caption_dropout",
    "dropout": "caption_dropout",
    "fit.bf16": "precision",
    "autoencoder.fit.bf16": "precision",
    "denoiser.fit.bf16": "precision",
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
        source: `emoji`; a folder of images, of .tar files, of .parquet files or of a saved `datasets`; or a .tar or
            .parquet file. `FOLDER:train` is one split of several. A relative path begins where the command runs.
        size: side in pixels, 8 to 4096.
        channels: 3 for colour, 1 for grey.
        buckets: scale each image to one of several sizes of the same area, by its shape; otherwise all are cropped to
            the square.
        views: variations of each image, 1 to 1024, encoded once before the denoiser trains.
        strict: refuse unreadable images, which are left out otherwise.
        captions: "auto" reads `text`, `caption` or .txt files where there are any, and no labels; "none" reads none;
            otherwise a column.
        labels: classes, where there are any: "folders" for the first folder of each image below the source; otherwise
            a column.
        background: colour behind transparent pixels, a name such as black, or #rrggbb.
        workers: processes that decode images, 0 to 256; 0 chooses by the cores and the number of images.
        cache: folder of the encoded views, which runs of equal data share; in the folder of the run if empty.
        validation: share of the concepts held out from training, 0 to 0.5; "auto" is 5 %, at most 1,000 images, and 0
            for fewer than 100 images.
        augment: variations of the images; none unless asked for.
    """

    source: str
    size: int = 64
    views: int = 8
    strict: bool = False
    captions: str = "auto"
    labels: str = ""
    background: str = "white"
    workers: int = 0
    cache: str = ""
    validation: float | Literal["auto"] = "auto"
    augment: Augment = field(default_factory=Augment)
    channels: Literal[3, 1] = 3
    buckets: bool = False

    def __post_init__(self) -> None:
        check_whole("size", self.size, 8, 4096)
        check_whole("views", self.views, 1, 1024)
        check_whole("workers", self.workers, 0, 256)
        if self.validation != "auto":
            check_number("validation", self.validation, 0, MOST_HELD_OUT)
        colour_of(self.background)
        if not self.captions:
            raise InputError('captions "": "auto", "none" or a column')

    def open(self) -> ImageDataset:
        """Open the data set; each image is decoded once."""
        return checked(self.open_unchecked(self.strict), self.strict, self.workers)

    def open_unchecked(self, strict: bool = False) -> ImageDataset:
        """Open the data set, of which only the headers of images are read."""
        return open_unchecked(self.source, self.size, strict, self.captions, self.labels, self.background)


@dataclass(frozen=True, slots=True)
class AutoencoderOptions(Strict):
    """The autoencoder: one that is trained here, by `fit`, or one of another model, `source`.

    Args:
        fit: the optimizer, where it is trained here.
        source: file or folder of a model whose autoencoder is used as it is, instead of fit and args.
        args: of the network Autoencoder.
        augment: variations of the images; can be stronger than those of the denoiser.
        edges: weight of the loss on differences between neighbouring pixels, at least 0.
        kl: weight of the KL divergence from N(0, I), a mean over latents, at least 0.
    """

    fit: FitOptions | None = None
    args: dict[str, Any] = field(default_factory=dict)
    augment: Augment = field(default_factory=Augment)
    edges: float = 1.0
    kl: float = 1e-4
    source: str = ""

    def __post_init__(self) -> None:
        if (self.fit is None) != bool(self.source):
            which = "both are set" if self.source else "neither is set"
            raise InputError(
                f"autoencoder.fit, autoencoder.source: {which}; fit trains an autoencoder, source takes that of a model"
            )
        if self.source and (self.args or self.augment != Augment() or (self.edges, self.kl) != (1.0, 1e-4)):
            raise InputError("autoencoder.args, augment, edges, kl: of an autoencoder that is trained; leave them out")
        self.augment.check_pixels("autoencoder.augment")
        for name in ("edges", "kl"):
            check_number(f"autoencoder.{name}", getattr(self, name), 0, 1e6)


@dataclass(frozen=True, slots=True)
class TextOptions(Strict):
    """The text encoder, which is trained with the denoiser.

    Args:
        vocab: tokens that are learnt from the captions, 257 to 1048576 at most.
        width: features of a token, a multiple of `heads`; the context or vector of the net.
        depth: layers, 0 to 256.
        heads: of the attention, 1 to 256.
        length: largest number of tokens of a prompt, 2 to 4096.
        embedding_learning_rate_multiple: learning rate of the token embeddings, as a multiple of that of the text
            encoder, above 0. A rare word is updated only where it occurs, and is hardly learnt in a short run at 1.
        learning_rate_multiple: learning rate of the text encoder beside the denoiser, as a multiple of the common one,
            above 0.
        fit: the optimizer of a training before that of the denoiser, in which the text encoder alone learns to predict
            images from their captions; without it there is none.
        plain: share of the steps of `fit`, the first ones, which read images as they are, 0 to 1; the others read the
            views of the denoiser.
        captions: of each view, 1 to 256; a sample takes one of them. They cost a hundred bytes each; a view itself
            is encoded once. The caption of a scene is one.
        keywords: probability of a keyword in place of the name, 0 to 1, in the captions of images as they are, in
            `fit`, and in those of a view beside its own; that of data.augment if it is left out.
    """

    vocab: int = 2048
    width: int = 192
    depth: int = 2
    heads: int = 4
    length: int = 32
    embedding_learning_rate_multiple: float = 1.0
    learning_rate_multiple: float = 1.0
    fit: FitOptions | None = None
    plain: float = 0.7
    captions: int = 1
    keywords: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("vocab", 257, 1 << 20), ("width", 1, 1 << 14), ("depth", 0, 256), ("heads", 1, 256)):
            check_whole(f"denoiser.text.{name}", getattr(self, name), low, high)
        check_whole("denoiser.text.length", self.length, 2, 4096)
        check_number("denoiser.text.plain", self.plain, 0, 1)
        check_whole("denoiser.text.captions", self.captions, 1, MOST_CAPTIONS)
        if self.keywords is not None:
            check_number("denoiser.text.keywords", self.keywords, 0, 1)
            if self.fit is None and self.captions == 1:
                raise InputError(f"denoiser.text.keywords {self.keywords:g}: acts with denoiser.text.fit or captions")
        for name in ("embedding_learning_rate_multiple", "learning_rate_multiple"):
            check_number(f"denoiser.text.{name}", getattr(self, name), 1e-6, 1e6)
        if self.width % self.heads:
            raise InputError(f"denoiser.text.width {self.width}: a multiple of denoiser.text.heads, {self.heads}")


@dataclass(frozen=True, slots=True)
class DenoiserOptions(Strict):
    """The denoiser and its training.

    Args:
        fit: the optimizer.
        net: the network, by class and arguments.
        process: the noise that is added, by class and arguments.
        patch: side of the squares of pixels that are folded into channels, 1 to 64: the network takes
            data.channels * patch^2 channels, on a coarser grid, which is faster. Not with an autoencoder.
        kind: what the network predicts.
        weighting: of the errors at different noise levels; a name or a kind: errors of that kind weigh the same.
        level_mean: mean of ln sigma, the noise levels of training, -10 to 10; higher favours shape over texture.
        level_std: standard deviation of ln sigma, 0.01 to 10.
        caption_dropout: share of captions, or of labels, left out, 0 to 1; classifier-free guidance needs it. 0.1 where
            the network has one of them.
        text: the text encoder; without this table, no captions are read.
        init: a model file of `unnoise train` whose weights, autoencoder and tokenizer the training starts from. A model
            of another program is fine-tuned whole, by a recipe of fewer fields: docs/training.md.
        gradient_checkpointing: recompute activations in the backward pass: slower, with less memory.
    """

    fit: FitOptions
    net: Part
    process: Part
    kind: Kind = "flow"
    weighting: str = "flow"
    level_mean: float = 0.0
    level_std: float = 1.0
    caption_dropout: float | None = None
    text: TextOptions | None = None
    init: str = ""
    gradient_checkpointing: bool = False
    patch: int = 1

    def __post_init__(self) -> None:
        if self.caption_dropout is not None:
            check_number("caption_dropout", self.caption_dropout, 0, 1)
        check_whole("denoiser.patch", self.patch, 1, 64)
        check_number("level_mean", self.level_mean, -10, 10)
        check_number("level_std", self.level_std, 0.01, 10)

    @property
    def classes(self) -> int:
        """The labels that the network takes, the one of no class included; 0 for none."""
        return int(self.net.args.get("labels") or 0)

    @property
    def dropout(self) -> float:
        """The share of captions or labels that is left out."""
        given = 0.1 if self.caption_dropout is None else self.caption_dropout
        return given if self.text or self.classes else 0.0


@dataclass(frozen=True, slots=True)
class TrainingRecipe(Strict):
    """Everything that decides a run. The same recipe, versions and machine give the same weights.

    Args:
        name: of the model and its file.
        data: the data set.
        denoiser: the network that is trained to remove noise.
        autoencoder: between images and latents; without it the denoiser works on pixels.
        checkpoints: what the run saves.
        advice: defaults for generation, of the card and of contact sheets.
        prompts: of the contact sheets; captions of the data set if empty.
        seed: of weights, noise, order and augmentation.
        licence: of the weights, as the card states it.
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
        check_file_name(self.name)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        if self.autoencoder is not None and self.denoiser.patch != 1:
            raise InputError(
                f"denoiser.patch {self.denoiser.patch}: of pixels, and there is an autoencoder; leave it out"
            )
        if self.data.buckets and "captions" in self.fits():
            raise InputError(
                "denoiser.text.fit: takes images of one size, and data.buckets is true; leave one of them out"
            )
        self.checkpoints.check(*(fit for _, fit in self.fits().values()))
        for task, (place, fit) in self.fits().items():
            if fit.shard and task != "denoiser":
                raise InputError(f"{place}.shard true: only the denoiser can be split; leave it out")

    def fits(self) -> dict[str, tuple[str, FitOptions]]:
        """Return the place and the optimizer of each task, in the order of training."""
        coder, text = self.autoencoder, self.denoiser.text
        first = {
            "autoencoder": ("autoencoder.fit", coder.fit if coder else None),
            "captions": ("denoiser.text.fit", text.fit if text else None),
        }
        given = {task: (place, fit) for task, (place, fit) in first.items() if fit}
        return {**given, "denoiser": ("denoiser.fit", self.denoiser.fit)}


def check_file_name(name: str) -> None:
    """Raise InputError unless the name of a recipe can be that of a file."""
    if not 0 < len(name) <= LONGEST_NAME or name[0] == "." or not name.isprintable() or set(name) & set("/\\:"):
        raise InputError(f"name {quoted(name)}: the name of a file without its ending: no '/', '\\', ':', no dot first")


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
