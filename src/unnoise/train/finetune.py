"""Train the whole denoiser of another program's model; its text encoders and its autoencoder are frozen."""

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.devices import available, size
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.loss import loss
from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.formats.atomic import replacing
from unnoise.generation.images import PreparedImages
from unnoise.generation.prepare import JobConditioning, shape_of
from unnoise.integrations.diffusers.export import exportable, rewrite
from unnoise.loading import meta
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import AdapterTask, adapter_fit
from unnoise.train.examples import bytes_of_latents, encode_examples, encode_held_out, open_buckets
from unnoise.train.figures import read_figures
from unnoise.train.finetune_recipe import FineTuneRecipe
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.loop import train
from unnoise.train.lora import check_adapter_sheets, load_base
from unnoise.train.processes import run_facts, world
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.shard import whole_networks
from unnoise.train.train_recipe import TrainingReport

FLOAT = 4  # bytes of a number in training
FACTS = "training.json"


class FineTuneTask(AdapterTask):
    """Train every weight of the denoiser."""

    name = "denoiser"


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """The bytes that a training needs. averages: of the weights, and a copy for contact sheets."""

    weights: int
    gradients: int
    moments: int
    averages: int
    activations: int

    @property
    def needed(self) -> int:
        """All together."""
        return self.weights + self.gradients + self.moments + self.averages + self.activations

    def line(self) -> str:
        """Return the estimate as one line."""
        parts = ("weights", "gradients", "moments", "averages", "activations")
        return f"{size(self.needed)}: " + ", ".join(f"{name} {size(getattr(self, name))}" for name in parts)


def finetune_memory(recipe: FineTuneRecipe) -> TrainingMemory:
    """Estimate the memory of a fine-tuning, of which only headers and shapes are read.

    Activations are those that the backward pass keeps in float32; with gradient checkpointing, they are not counted.
    """
    pipeline, fit, side = meta(recipe.denoiser.init), recipe.denoiser.fit, recipe.data.size
    if side % pipeline.factor:
        raise InputError(f"data.size {side}: a multiple of {pipeline.factor}, for {pipeline.card.name!r}")
    every = sum(one.numel() for net in pipeline.networks().values() for one in net.parameters())
    trained = FLOAT * sum(one.numel() for one in pipeline.denoiser.net.parameters())
    averages = len(recipe.checkpoints.ema_lengths) + 1
    kept = 0 if recipe.denoiser.gradient_checkpointing else _activations(pipeline, recipe, fit.micro_batch or fit.batch)
    return TrainingMemory(FLOAT * every, trained, 2 * trained, averages * trained, kept)


def _activations(pipeline: Pipeline, recipe: FineTuneRecipe, rows: int) -> int:
    """Count the bytes that a step on the meta device keeps for its backward pass, without the weights."""
    settings, kept = pipeline.plan("", size=recipe.data.size, prompt_weighting="literal").settings, dict[int, int]()
    weights = {_storage(one) for one in pipeline.denoiser.net.parameters()}

    def count(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.device("meta"):
        encoder = pipeline.text_encoder
        cond = Conditioning() if encoder is None else encoder([""])[0]
        row = JobConditioning(pipeline, settings, PreparedImages()).added(cond, prompted=True)
        x0 = torch.empty(rows, *shape_of(pipeline, settings))
        pipeline.denoiser.net.requires_grad_(True)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            held = loss(pipeline.denoiser, x0, x0, torch.ones(rows), collate([row] * rows), pipeline.denoiser.kind)
        del held
    return sum(kept.values())


def _storage(tensor: Tensor) -> int:
    """Return what identifies the memory of a tensor, also of one without memory."""
    return int(tensor.untyped_storage()._cdata)


def check_memory(recipe: FineTuneRecipe, memory: TrainingMemory, device: torch.device) -> None:
    """Raise InputError where a fine-tuning does not fit into the memory of a device."""
    free = available(device)
    if free is not None and memory.needed > free:
        less = "" if recipe.denoiser.gradient_checkpointing else "gradient_checkpointing = true, "
        raise InputError(
            f"denoiser.init {recipe.denoiser.init!r}: its training needs {memory.line()}; {size(free)} are free on "
            f"{device}; use {less}a smaller fit.micro_batch, or a LoRA (unnoise lora train)"
        )


def finetune(recipe: FineTuneRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport) -> Path:
    """Fine-tune a denoiser, and return the folder of the model in the layout of diffusers, `folder/NAME`.

    Args, Raises: as for `train_recipe`.
    """
    check_memory(recipe, finetune_memory(recipe), device)
    adapter = recipe.adapter()
    pipeline = load_base(adapter, device)
    exportable(Identity(pipeline.card.family, pipeline.card.variant), f"denoiser.init {recipe.denoiser.init!r}")
    dataset, buckets, held = open_buckets(adapter, pipeline)
    if dataset.labels:
        raise InputError("data.labels: denoiser.init reads captions, and no labels; leave it out")
    check_adapter_sheets(adapter, pipeline, [bucket.dataset for bucket in buckets])
    net = pipeline.denoiser.net
    count = sum(parameter.numel() for parameter in net.parameters())
    needed = bytes_of_run(count, adapter.fit, recipe.checkpoints) + bytes_of_latents(adapter, pipeline, dataset)
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        trained = net.requires_grad_(True).train()
        with world().first():  # what one process encodes, the others read
            examples = encode_examples(adapter, buckets, pipeline, folder, report)
            held_out = encode_held_out(adapter, held, pipeline, folder, report)
            task = FineTuneTask(adapter, pipeline, examples, trained, folder, trains_text=False, held_out=held_out)
        report.stage("denoiser", adapter.fit.steps)
        with gradient_checkpointing(net, recipe.denoiser.gradient_checkpointing):
            fit = adapter_fit(adapter, pipeline)
            averaged = train(task, fit, recipe.checkpoints, folder / "denoiser", report.step, monitor=task.monitor)
        task.networks.load_state_dict(averaged)
        with whole_networks(task.networks, world()):
            world().once(lambda: _write(folder / recipe.name, recipe, pipeline, dataset))
        return folder / recipe.name


def _write(folder: Path, recipe: FineTuneRecipe, pipeline: Components, dataset: ImageDataset) -> None:
    """Write the model: the trained network in the dtype of the base, beside the base's other parts."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that is extended
    rewrite(Path(recipe.denoiser.init), folder, pipeline.diffusers_networks)
    fit = recipe.denoiser.fit
    facts: dict[str, Any] = {
        "base": f"{pipeline.card.name} {pipeline.card.fingerprint[:12]}",
        "data": dataset.name,
        "pictures": len(dataset),
        "caption_dropout": recipe.denoiser.caption_dropout,
        "steps": fit.steps,
        "batch": fit.batch,
        **read_figures(folder.parent)[-1].facts(),
        "seed": recipe.seed,
        "licence": recipe.licence,
        "torch": torch.__version__,
    }
    with replacing(folder / FACTS) as file:
        file.write(json.dumps(facts, indent=2).encode())
