"""Train a control beside a model that stays as it is: it learns to follow the outlines of the pictures."""

from pathlib import Path

import torch
from torch import Tensor

from unnoise.adapters.controlnet import ControlCard, attach_control, save_control, unet_widths
from unnoise.adapters.lora.compatibility import base_from
from unnoise.data.dataset import ImageDataset, open_source
from unnoise.data.outline import outlines
from unnoise.data.view import View, pixels_of
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, Examples, latents_key, triggered
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.gradient_checkpointing import checkpointed
from unnoise.train.latents import BATCH, encode_views, views_of
from unnoise.train.loop import train
from unnoise.train.lora import base_of
from unnoise.train.train_recipe import TrainingReport, claim


def train_control(
    recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train what a recipe describes and give the path of the control's file, `folder/NAME.safetensors`.

    Raises InputError where the base is not a U-Net of this program, the folder holds a run and `resume` is not asked for,
    or it holds the run of another recipe.
    """
    if recipe.control is None:
        raise InputError(f"{recipe.name!r}: a recipe of a LoRA; unnoise lora train")
    base = base_of(recipe, device)
    source = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    about = _about(recipe, recipe.control.width, base, source)
    claim(dump(recipe), folder, resume)
    report.opened(source)
    views = views_of(source, recipe.data, recipe.seed)
    captions = [triggered(recipe.trigger, view.caption) for view in views]
    report.stage("views", len(views))
    key = latents_key(recipe, source, base)
    x0 = encode_views(source, views, base.space, folder / "latents.safetensors", key, report.encoded, device)
    shape = (len(source), recipe.data.views)
    torch.manual_seed(recipe.seed)
    control = about.build().to(device)
    examples = Examples(
        source, x0.unflatten(0, shape), captions, control_images=control_images(source, views).unflatten(0, shape)
    )
    task = AdapterTask(recipe, Pipeline.of(attach_control(base, control)), examples, control, folder, reads=False)
    report.stage("control", recipe.fit.steps)
    with checkpointed(task.pipeline, recipe.checkpointing):
        averaged = train(task, recipe.fit, recipe.keep, folder / "adapter", report.step)
    task.parts.load_state_dict(averaged)
    path = folder / f"{recipe.name}.safetensors"
    save_control(path, control, about)
    return path


def control_images(source: ImageDataset, views: list[View]) -> Tensor:
    """Draw the outlines of every view: (N*V, 1, H, W) uint8."""
    parts = (views[at : at + BATCH] for at in range(0, len(views), BATCH))
    return torch.cat([(outlines(pixels_of(source, part)) * 255).round().to(torch.uint8) for part in parts])


def _about(recipe: AdapterRecipe, width: int, base: Pipeline, source: ImageDataset) -> ControlCard:
    return ControlCard(
        base=base_from(base.card),
        widths=unet_widths(base),
        factor=base.space.factor,
        width=width,
        licence=recipe.licence,
        training={
            "data": source.name,
            "pictures": len(source),
            "steps": recipe.fit.steps,
            "batch": recipe.fit.batch,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )
