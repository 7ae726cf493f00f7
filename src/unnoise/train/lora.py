"""Train a LoRA: encode latents and text features once, then train A and B with the weights of the base frozen."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from unnoise.adapters.lora.compatibility import LoraCard, base_from
from unnoise.adapters.lora.read import Adapter, read
from unnoise.adapters.lora.targets import TEXT, select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.adapters.lora.write import write
from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.diffusion.loss import factor
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError, InputWarning
from unnoise.loading import load
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, adapter_fit, check_texts, sheet_prompts
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.examples import (
    bytes_of_latents,
    encode_examples,
    encode_held_out,
    open_buckets,
    with_prior,
    with_trigger,
)
from unnoise.train.figures import with_figures
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.loop import train
from unnoise.train.processes import run_facts, world
from unnoise.train.requirements import check_sheet
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.train_recipe import TrainingReport


def train_lora(recipe: AdapterRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport) -> Path:
    """Train the LoRA of a recipe; arguments, result and errors are those of `train_recipe`.

    Raises InputError where the base is not a text-to-image model, or lacks the targets.
    """
    options = recipe.lora
    if options is None:
        raise InputError(f"recipe {recipe.name!r}: has [control] and no [lora]; use unnoise control train")
    pipeline = load_base(recipe, device)
    dataset, buckets, held = open_buckets(recipe, pipeline)
    check_adapter_sheets(recipe, pipeline, [bucket.dataset for bucket in buckets])
    names = select_layers(pipeline.adaptable(), options.targets)
    torch.manual_seed(recipe.seed)
    lora = TrainableLora(pipeline.adaptable(), names, options.rank, options.alpha, options.dropout, options.dora)
    init = _start(lora, options, pipeline)
    count = sum(parameter.numel() for parameter in lora.parameters())
    needed = bytes_of_run(count, recipe.fit, recipe.checkpoints) + bytes_of_latents(recipe, pipeline, dataset)
    card = _lora_card(recipe, options, pipeline, dataset, names)
    if init is not None:
        card = replace(card, training=card.training | {"init": f"{init.name} {init.fingerprint[:12]}"})
    path = folder / f"{recipe.name}.safetensors"
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        with world().first():  # what one process encodes, the others read
            examples = encode_examples(recipe, buckets, pipeline, folder, report)
            held_out = encode_held_out(recipe, held, pipeline, folder, report)
            prior = recipe.prior_options
            if prior is not None:
                examples = with_prior(recipe, prior, buckets, examples, pipeline, folder)
            trains_text = any(name.startswith(TEXT) for name in names)
            task = AdapterTask(recipe, pipeline, examples, lora, folder, trains_text, held_out)
        report.stage("adapter", recipe.fit.steps)
        with lora.on(), gradient_checkpointing(pipeline.denoiser.net, recipe.gradient_checkpointing):
            fit, float16 = adapter_fit(recipe, pipeline), pipeline.dtype == "float16"
            averaged = train(task, fit, recipe.checkpoints, folder / "adapter", report.step, float16, task.monitor)
        task.networks.load_state_dict(averaged)
        world().once(lambda: write(path, Adapter(path.name, lora.deltas(), about=with_figures(card, folder))))
    return path


def _start(lora: TrainableLora, options: LoraOptions, pipeline: Pipeline) -> Adapter | None:
    """Start from the adapter that the recipe names, if any."""
    if not options.init:
        return None
    adapter = read(find(options.init, ADAPTERS), pipeline)
    for note in adapter.notes:
        warnings.warn(note, InputWarning, stacklevel=3)
    lora.start_from(adapter.deltas, f"lora.init {options.init!r}")
    return adapter


def load_base(recipe: AdapterRecipe, device: torch.device) -> Pipeline:
    """Load the base of a recipe, and warn of one that is distilled to few steps.

    Raises InputError for another model than text to image, or what it cannot take.
    """
    pipeline = load(recipe.base, device, dtype=recipe.dtype)
    if pipeline.text_encoder is None or pipeline.image_conditioner is not None or pipeline.card.modality != "image":
        raise InputError(f"base {recipe.base!r}: not a text-to-image model; adapters are trained on these")
    if recipe.distilled_guidance is not None and pipeline.card.advice.distilled_guidance is None:
        raise InputError(f"distilled_guidance {recipe.distilled_guidance:g}: {recipe.base!r} has no such input")
    if pipeline.denoiser.takes_end:
        origin = pipeline.card.distilled
        raise InputError(
            f"base {recipe.base!r}: is distilled, to jumps between levels of its own; train the adapter on "
            f"{repr(origin.teacher) if origin else 'its teacher'}, and apply it to both"
        )
    factor(recipe.weighting or pipeline.denoiser.kind, pipeline.denoiser.kind, torch.ones(1))
    if pipeline.dtype != "float32" and recipe.fit.precision not in ("auto", pipeline.dtype):
        raise InputError(
            f"fit.precision {recipe.fit.precision!r}: the base computes in its dtype, {pipeline.dtype}; leave it out"
        )
    if (distilled := pipeline.card.distilled) is not None:
        warnings.warn(
            f"base {recipe.base!r}: distilled to at most {max(distilled.steps)} steps, which a training takes back; "
            f"train on {distilled.teacher!r}, and distil afterwards",
            InputWarning,
            stacklevel=2,
        )
    return pipeline


def check_adapter_sheets(recipe: AdapterRecipe, pipeline: Pipeline, datasets: Sequence[ImageDataset]) -> None:
    """Raise InputError where the contact sheets could not be drawn: their size, or their prompts."""
    prompts = [with_trigger(recipe.trigger, prompt) for prompt in sheet_prompts(recipe, datasets)]
    check_sheet(pipeline, prompts, recipe.data.size)
    check_texts(pipeline.text_encoder, prompts)


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
            **({"held_out": dataset.held_out} if dataset.held_out else {}),
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
