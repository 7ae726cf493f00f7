"""Train an adapter on a model that stays as it is: latents and text features once, then A and B alone."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.read import Adapter
from unnoise.adapters.lora.targets import TEXT, select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import write
from unnoise.data.dataset import ImageDataset, open_source
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, Examples, drawn_prior, latents_key, triggered
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.gradient_checkpointing import checkpointed
from unnoise.train.latents import encode_views, views_of
from unnoise.train.loop import train
from unnoise.train.train_recipe import TrainingReport, claim


def train_lora(recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport) -> Path:
    """Train what a recipe describes and give the path of the adapter's file, `folder/NAME.safetensors`.

    Raises InputError where the recipe does not fit its base, the folder holds a run and `resume` is not asked for, or it
    holds the run of another recipe.
    """
    shape = recipe.lora
    if shape is None:
        raise InputError(f"{recipe.name!r}: a recipe of a control; unnoise control train")
    pipeline = base_of(recipe, device)
    source = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    names = select_layers(pipeline.adaptable(), shape.targets)
    claim(dump(recipe), folder, resume)
    report.opened(source)
    views = views_of(source, recipe.data, recipe.seed)
    captions = [triggered(recipe.trigger, view.caption) for view in views]
    report.stage("views", len(views))
    x0 = encode_views(source, views, pipeline.space, folder / "latents.safetensors",
                      latents_key(recipe, source, pipeline), report.encoded, device)  # fmt: skip
    prior = drawn_prior(recipe.prior, pipeline, recipe, folder)
    torch.manual_seed(recipe.seed)
    learned = TrainableLora(pipeline.adaptable(), names, shape.rank, shape.alpha, shape.dropout, shape.dora)
    examples = Examples(source, x0.unflatten(0, (len(source), recipe.data.views)), captions, prior)
    task = AdapterTask(recipe, pipeline, examples, learned, folder, reads=any(name.startswith(TEXT) for name in names))
    report.stage("adapter", recipe.fit.steps)
    with learned.on(), checkpointed(pipeline, recipe.checkpointing):
        averaged = train(task, recipe.fit, recipe.keep, folder / "adapter", report.step)
    task.parts.load_state_dict(averaged)
    path = folder / f"{recipe.name}.safetensors"
    write(path, Adapter(path.name, learned.deltas(), about=_about(recipe, shape, pipeline, source, names)))
    return path


def base_of(recipe: AdapterRecipe, device: torch.device) -> Pipeline:
    """Load the base of a recipe. Raises InputError for one that does not draw pictures from words alone."""
    pipeline = load(recipe.base, device, dtype=recipe.dtype)
    if pipeline.text_encoder is None or pipeline.image_conditioner is not None or pipeline.card.modality != "image":
        raise InputError(f"base {recipe.base!r}: adapters are trained on models that draw pictures from words alone")
    return pipeline


def _about(
    recipe: AdapterRecipe, shape: LoraOptions, pipeline: Pipeline, source: ImageDataset, names: Sequence[str]
) -> LoraCard:
    return LoraCard(
        base=base_from(pipeline.card),
        trigger=recipe.trigger,
        licence=recipe.licence,
        training={
            "data": source.name,
            "pictures": len(source),
            "steps": recipe.fit.steps,
            "batch": recipe.fit.batch,
            "rank": shape.rank,
            "alpha": shape.alpha,
            "targets": list(shape.targets),
            "layers": len(names),
            "dora": shape.dora,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )
