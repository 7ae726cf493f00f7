"""Train a LoRA: encode latents and text features once, then train A and B with the weights of the base frozen."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.read import Adapter
from unnoise.adapters.lora.targets import TEXT, select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import write
from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, Examples, latents_key, prior_images, with_trigger
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.latents import all_views, encode_views
from unnoise.train.loop import train
from unnoise.train.train_recipe import TrainingReport, claim_folder


def train_lora(recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport) -> Path:
    """Train the LoRA of a recipe; arguments, result and errors are those of `train_recipe`.

    Raises InputError where the base is not a text-to-image model, or lacks the targets.
    """
    options = recipe.lora
    if options is None:
        raise InputError(f"recipe {recipe.name!r}: has [control] and no [lora]; use unnoise control train")
    pipeline = load_base(recipe, device)
    dataset = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    names = select_layers(pipeline.adaptable(), options.targets)
    claim_folder(dump(recipe), folder, resume)
    report.opened(dataset)
    views = all_views(dataset, recipe.data, recipe.seed)
    captions = [with_trigger(recipe.trigger, view.caption) for view in views]
    report.stage("views", len(views))
    key = latents_key(recipe, dataset, pipeline)
    x0 = encode_views(dataset, views, pipeline.space, folder / "latents.safetensors", key, report.encoded, device)
    prior = prior_images(recipe.prior, pipeline, recipe, folder)
    torch.manual_seed(recipe.seed)
    lora = TrainableLora(pipeline.adaptable(), names, options.rank, options.alpha, options.dropout, options.dora)
    examples = Examples(dataset, x0.unflatten(0, (len(dataset), recipe.data.views)), captions, prior)
    trains_text = any(name.startswith(TEXT) for name in names)
    task = AdapterTask(recipe, pipeline, examples, lora, folder, trains_text)
    report.stage("adapter", recipe.fit.steps)
    with lora.on(), gradient_checkpointing(pipeline.denoiser.net, recipe.gradient_checkpointing):
        averaged = train(task, recipe.fit, recipe.checkpoints, folder / "adapter", report.step)
    task.networks.load_state_dict(averaged)
    path = folder / f"{recipe.name}.safetensors"
    write(path, Adapter(path.name, lora.deltas(), about=_lora_card(recipe, options, pipeline, dataset, names)))
    return path


def load_base(recipe: AdapterRecipe, device: torch.device) -> Pipeline:
    """Load the base of a recipe. Raises InputError for another model than text to image."""
    pipeline = load(recipe.base, device, dtype=recipe.dtype)
    if pipeline.text_encoder is None or pipeline.image_conditioner is not None or pipeline.card.modality != "image":
        raise InputError(f"base {recipe.base!r}: not a text-to-image model; adapters are trained on these")
    return pipeline


def _lora_card(
    recipe: AdapterRecipe, options: LoraOptions, base: Components, dataset: ImageDataset, names: Sequence[str]
) -> LoraCard:
    return LoraCard(
        base=base_from(base.card),
        trigger=recipe.trigger,
        licence=recipe.licence,
        training={
            "data": dataset.name,
            "pictures": len(dataset),
            "steps": recipe.fit.steps,
            "batch": recipe.fit.batch,
            "rank": options.rank,
            "alpha": options.alpha,
            "targets": list(options.targets),
            "layers": len(names),
            "dora": options.dora,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )
