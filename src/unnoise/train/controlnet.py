"""Train a ControlNet on the outlines of images, with the weights of the base frozen."""

from functools import partial
from pathlib import Path

import torch

from unnoise.adapters.controlnet import ControlCard, attach_control, cell_factor, save_control, unet_widths
from unnoise.adapters.lora.compatibility import base_from
from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, adapter_fit
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.examples import bytes_of_latents, encode_examples, encode_held_out, open_buckets
from unnoise.train.figures import with_figures
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.loop import train
from unnoise.train.lora import check_adapter_sheets, load_base
from unnoise.train.processes import run_facts, world
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.train_recipe import TrainingReport


def train_control(
    recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train the ControlNet of a recipe; arguments, result and errors are those of `train_recipe`.

    Raises InputError where the base is not a text-to-image U-Net of unnoise.
    """
    if recipe.control is None:
        raise InputError(f"recipe {recipe.name!r}: has [lora] and no [control]; use unnoise lora train")
    base = load_base(recipe, device)
    dataset, buckets, held = open_buckets(recipe, base)
    card = _control_card(recipe, recipe.control.width, base, dataset)
    torch.manual_seed(recipe.seed)
    control = card.build().to(device)
    check_adapter_sheets(recipe, base, [bucket.dataset for bucket in buckets])
    count = sum(parameter.numel() for parameter in control.parameters())
    needed = bytes_of_run(count, recipe.fit, recipe.checkpoints) + bytes_of_latents(recipe, base, dataset)
    path = folder / f"{recipe.name}.safetensors"
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        with world().first():  # what one process encodes, the others read
            examples = encode_examples(recipe, buckets, base, folder, report)
            held_out = encode_held_out(recipe, held, base, folder, report)
            pipeline = Pipeline.of(attach_control(base, control))
            task = AdapterTask(recipe, pipeline, examples, control, folder, trains_text=False, held_out=held_out)
        report.stage("control", recipe.fit.steps)
        with gradient_checkpointing(pipeline.denoiser.net, recipe.gradient_checkpointing):
            fit, float16 = adapter_fit(recipe, base), base.dtype == "float16"
            averaged = train(task, fit, recipe.checkpoints, folder / "adapter", report.step, float16, task.monitor)
        task.networks.load_state_dict(averaged)
        world().once(lambda: save_control(path, control, with_figures(card, folder)))
    return path


def _control_card(recipe: AdapterRecipe, width: int, base: Components, dataset: ImageDataset) -> ControlCard:
    return ControlCard(
        base=base_from(base.card),
        widths=unet_widths(base),
        factor=cell_factor(base),
        width=width,
        licence=recipe.licence,
        training={
            "data": dataset.name,
            "pictures": len(dataset),
            **({"held_out": dataset.held_out} if dataset.held_out else {}),
            "steps": recipe.fit.steps,
            "batch": recipe.fit.batch,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )
