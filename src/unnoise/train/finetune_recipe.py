"""The recipe of the full fine-tuning of another program's denoiser: that of `unnoise train`, where init names one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from unnoise.card import has_card
from unnoise.embedded import find
from unnoise.errors import InputError
from unnoise.formats.json_text import plain_toml
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions, TrainingRecipe, parse_recipe, read_recipe
from unnoise.train.tiny_decoder_recipe import TinyDecoderRecipe

OF_BASE: Final = ("net", "process", "kind", "text")  # fields of a denoiser that the base decides


@dataclass(frozen=True, slots=True)
class FineTuneOptions(Strict):
    """The denoiser of another program, and its training. Its process and kind are those of its model.

    Args:
        init: diffusers folder or single file of the model.
        fit: the optimizer.
        weighting: of the errors at different noise levels; None uses the kind of the base.
        level_mean, level_std: noise levels are drawn from ln sigma ~ N(mean, std^2); None draws them uniformly in the
            time of the base's process.
        caption_dropout: share of captions left out, 0 to 1.
        gradient_checkpointing: recompute activations in the backward pass: slower, with less memory.
        distilled_guidance: the guidance scale that a distilled base such as FLUX.1 dev takes as an input, 0 to 100; 1
            by default.
    """

    init: str
    fit: FitOptions
    weighting: str | None = None
    level_mean: float | None = None
    level_std: float | None = None
    caption_dropout: float = 0.1
    gradient_checkpointing: bool = False
    distilled_guidance: float | None = None


@dataclass(frozen=True, slots=True)
class FineTuneRecipe(Strict):
    """Everything that decides the fine-tuning of another program's denoiser.

    Args:
        name: of the model and its file.
        data: the data set.
        denoiser: the denoiser of the other program, and its training.
        trigger: words that are put in front of every caption.
        checkpoints: what the run saves.
        prompts: of the contact sheets; captions of the data set if empty.
        seed: of noise, order and augmentation.
        licence: of the weights, as the card states it.
    """

    name: str
    data: DataOptions
    denoiser: FineTuneOptions
    trigger: str = ""
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = "unknown"

    def __post_init__(self) -> None:
        self.adapter()

    def adapter(self) -> AdapterRecipe:
        """Return the recipe whose adapter is the whole network. Raises InputError for a value out of range."""
        options = self.denoiser
        if self.data.channels != 3:
            raise InputError(f"data.channels {self.data.channels}: the autoencoder of denoiser.init decodes colour")
        return AdapterRecipe(
            name=self.name,
            data=self.data,
            fit=options.fit,
            base=options.init,
            trigger=self.trigger,
            distilled_guidance=options.distilled_guidance,
            weighting=options.weighting,
            level_mean=options.level_mean,
            level_std=options.level_std,
            caption_dropout=options.caption_dropout,
            gradient_checkpointing=options.gradient_checkpointing,
            checkpoints=self.checkpoints,
            prompts=self.prompts,
            seed=self.seed,
            licence=self.licence,
        )

    def fits(self) -> dict[str, tuple[str, FitOptions]]:
        """Return the place and the optimizer of the only task."""
        return {"denoiser": ("denoiser.fit", self.denoiser.fit)}


AnyRecipe = TrainingRecipe | FineTuneRecipe | TinyDecoderRecipe  # of `unnoise train`


def read_any_recipe(path: Path) -> AnyRecipe:
    """Read a recipe of `unnoise train`: of a model, of its small decoder, or of another program's denoiser.

    Raises InputError as `read_recipe` does.
    """
    try:
        table: dict[str, Any] = plain_toml(read_text(path))
    except ValueError:
        return read_recipe(path)  # which says what is wrong
    if "preview" in table:
        return parse_recipe(TinyDecoderRecipe, path)
    denoiser = table.get("denoiser")
    init = denoiser.get("init") if isinstance(denoiser, dict) else None
    if not isinstance(init, str) or not init or has_card(find(init)):
        return read_recipe(path)
    for name in OF_BASE:
        if name in denoiser:  # type: ignore[operator]
            raise InputError(
                f"recipe {str(path)!r}: denoiser.{name}: denoiser.init {init!r} is a model of another program, which "
                f"has its own; leave it out"
            )
    if "autoencoder" in table:
        raise InputError(f"recipe {str(path)!r}: autoencoder: denoiser.init {init!r} has its own; leave this table out")
    return parse_recipe(FineTuneRecipe, path)
