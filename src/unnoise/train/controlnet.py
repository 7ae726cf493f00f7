"""Train a ControlNet on the outlines of images, with the weights of the base frozen."""

from pathlib import Path

import torch
from torch import Tensor

from unnoise.adapters.controlnet import ControlCard, attach_control, save_control, unet_widths
from unnoise.adapters.lora.compatibility import base_from
from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.outline import outlines
from unnoise.data.view import View, render_views
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, Examples, latents_key, with_trigger
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.latents import BATCH, all_views, encode_views
from unnoise.train.loop import train
from unnoise.train.lora import load_base
from unnoise.train.train_recipe import TrainingReport, claim_folder


def train_control(
    recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train the ControlNet of a recipe; arguments, result and errors are those of `train_recipe`.

    Raises InputError where the base is not a text-to-image U-Net of unnoise.
    """
    if recipe.control is None:
        raise InputError(f"recipe {recipe.name!r}: has [lora] and no [control]; use unnoise lora train")
    base = load_base(recipe, device)
    dataset = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    card = _control_card(recipe, recipe.control.width, base, dataset)
    claim_folder(dump(recipe), folder, resume)
    report.opened(dataset)
    views = all_views(dataset, recipe.data, recipe.seed)
    captions = [with_trigger(recipe.trigger, view.caption) for view in views]
    report.stage("views", len(views))
    key = latents_key(recipe, dataset, base)
    x0 = encode_views(dataset, views, base.space, folder / "latents.safetensors", key, report.encoded, device)
    shape = (len(dataset), recipe.data.views)
    torch.manual_seed(recipe.seed)
    control = card.build().to(device)
    control_images = outline_images(dataset, views).unflatten(0, shape)
    examples = Examples(dataset, x0.unflatten(0, shape), captions, control_images=control_images)
    pipeline = Pipeline.of(attach_control(base, control))
    task = AdapterTask(recipe, pipeline, examples, control, folder, trains_text=False)
    report.stage("control", recipe.fit.steps)
    with gradient_checkpointing(pipeline.denoiser.net, recipe.gradient_checkpointing):
        averaged = train(task, recipe.fit, recipe.checkpoints, folder / "adapter", report.step)
    task.networks.load_state_dict(averaged)
    path = folder / f"{recipe.name}.safetensors"
    save_control(path, control, card)
    return path


def outline_images(dataset: ImageDataset, views: list[View]) -> Tensor:
    """Compute the outlines of every view: (N*V, 1, H, W) uint8."""
    parts = (views[at : at + BATCH] for at in range(0, len(views), BATCH))
    return torch.cat([(outlines(render_views(dataset, part)) * 255).round().to(torch.uint8) for part in parts])


def _control_card(recipe: AdapterRecipe, width: int, base: Components, dataset: ImageDataset) -> ControlCard:
    return ControlCard(
        base=base_from(base.card),
        widths=unet_widths(base),
        factor=base.space.factor,
        width=width,
        licence=recipe.licence,
        training={
            "data": dataset.name,
            "pictures": len(dataset),
            "steps": recipe.fit.steps,
            "batch": recipe.fit.batch,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )
