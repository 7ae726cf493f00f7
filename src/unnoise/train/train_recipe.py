"""Train the model of a recipe: open the data, train the autoencoder, encode every view, train the denoiser, save."""

from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import nn

from unnoise import model_file
from unnoise.card import Card
from unnoise.components import Components
from unnoise.data import grammar
from unnoise.data.buckets import Bucket, bucket_sizes, split_into_buckets, warn_of_enlarged, warn_of_square
from unnoise.data.dataset import ImageDataset
from unnoise.data.split import split_validation
from unnoise.diffusion.loss import factor
from unnoise.formats.atomic import check_writable
from unnoise.nets.autoencoder import Autoencoder
from unnoise.pipeline import Pipeline
from unnoise.spaces.space import Space
from unnoise.text import tokenizer as bpe
from unnoise.text.encode import PromptEncoder, cut
from unnoise.text.tokenizer import Tokenizer
from unnoise.train import checkpoint
from unnoise.train.allocator import return_freed_memory
from unnoise.train.autoencoder import AutoencoderTask
from unnoise.train.cache import codes_each
from unnoise.train.captions import CaptionTask
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.ema_choice import check_ema_length, read_choice
from unnoise.train.encoding import Encoding
from unnoise.train.fit_options import FitOptions, check_compiler
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.latents import Latents
from unnoise.train.loop import train
from unnoise.train.other_models import load_frozen, load_init
from unnoise.train.processes import run_facts, world
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.requirements import check_coder_channels, check_conditioning, check_networks, check_sheet
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.shard import whole_networks
from unnoise.train.snapshots import post_hoc_ema
from unnoise.train.task import Progress, Task
from unnoise.train.training_card import make_card, with_moments, with_sizes, with_timing, without_unreadable
from unnoise.train.validation import NOTHING, Monitor
from unnoise.train.weights import temporary_weights

SHEET_PROMPTS = 16  # captions, where the recipe has no prompts
SHEET_CLASSES = 100  # likewise; of more classes, equally spaced ones


class TrainingReport(Protocol):
    """Receives the progress of a training."""

    def opened(self, dataset: ImageDataset) -> None:
        """The data set is open, and its unreadable images are counted."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""

    def step(self, progress: Progress) -> None:
        """A step of the loop is done."""

    def encoded(self, done: int, total: int) -> None:
        """`done` of `total` views are encoded."""


def train_recipe(
    recipe: TrainingRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train the model of a recipe, and return the path of its file, `folder/NAME.safetensors`.

    Args:
        folder: of the run.
        resume: continue the run of the folder.

    Raises:
        InputError: the model cannot be built, or the folder holds a run that may not be continued.
    """
    whole = _open(recipe)
    dataset, held_out = split_validation(whole, recipe.data.validation)
    check_ema_length(recipe.checkpoints, held_out is not None)
    check_conditioning(recipe, whole)
    init = load_init(recipe, whole.classes, device)
    tokenizer = _tokenizer(recipe, dataset, init)
    prompts = sheet_prompts(recipe, dataset, tokenizer)
    card = make_card(recipe, whole, tokenizer, init, 0 if held_out is None else len(held_out))
    buckets = _buckets(recipe, dataset, model_file.build(card, device="meta").factor)
    card = with_sizes(card, [bucket.size for bucket in buckets])
    needed = _check(recipe, dataset, card, prompts)
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        autoencoder = load_frozen(recipe.autoencoder, init, device)
        if autoencoder is None:
            autoencoder = _train_autoencoder(recipe, dataset, folder / "autoencoder", device, report, held_out)
        encoding = Encoding(recipe, autoencoder, tokenizer, whole.classes, folder, device, report)
        encoded = [encoding.encode(bucket.dataset, recipe.data.views) for bucket in buckets]
        space = encoding.space(encoded) if init is None else init.space
        latents = [encoding.bucket(*pair, space) for pair in zip(buckets, encoded, strict=True)]
        captions = _captions(encoding, space, buckets)
        held = None
        if held_out is not None:
            held = encoding.latents(held_out, encoding.encode(held_out, 1), space, "validation")
        del whole, dataset, buckets, held_out, encoding  # a training keeps nothing of each image
        return_freed_memory()
        torch.manual_seed(recipe.seed)
        components = _components(with_moments(without_unreadable(card, encoded), space), autoencoder, init, device)
        if captions is not None:
            _train_captions(recipe, captions, latents[0], Pipeline.of(components), prompts, folder, report)
        task = DenoiserTask(recipe, latents, Pipeline.of(components), prompts, held)
        return _train_denoiser(task, components, folder, report)


def _open(recipe: TrainingRecipe) -> ImageDataset:
    """Open the data. Where encoding is not the first that decodes every image, each is decoded once to be counted.

    Views with other images in them, or with colours that depend on the image, read images out of their order.
    """
    data, augment = recipe.data, recipe.data.augment
    reads = augment.scene or augment.hue or augment.recolour
    first = not (data.strict or data.buckets or reads or "autoencoder" in recipe.fits())
    return data.open_unchecked() if first else data.open()


def _buckets(recipe: TrainingRecipe, dataset: ImageDataset, multiple: int) -> list[Bucket]:
    """Split the data by the shape of its images, or leave it whole. multiple: of which sides are multiples."""
    side = recipe.data.size
    if recipe.data.buckets:
        return split_into_buckets(dataset, bucket_sizes(side, multiple))
    warn_of_square(dataset)
    return [Bucket((side, side), dataset)]


def _check(recipe: TrainingRecipe, dataset: ImageDataset, card: Card, prompts: list[str]) -> int:
    """Check what the run will need, and return the bytes that it will write. Raises InputError."""
    options, side = recipe.denoiser, recipe.data.size
    components = model_file.build(card, device="meta")
    check_coder_channels(components, recipe.data.channels)
    factor(options.weighting, options.kind, torch.ones(1))
    check_sheet(components, prompts, side)
    check_networks(components, side)
    warn_of_enlarged(dataset, side)
    code = prod(components.space.shape(side, side)) * (1 if card.autoencoder is None else 2)  # 8 bits, or float16
    total = 0 if recipe.data.cache else code * len(dataset) * codes_each(recipe.data)
    if recipe.data.cache:
        check_writable(Path(recipe.data.cache) / "cache")
    networks = components.networks()
    for task, (_, fit) in recipe.fits().items():
        check_compiler(fit)
        trained = [net for role, net in networks.items() if (role == "autoencoder") == (task == "autoencoder")]
        count = sum(parameter.numel() for net in trained for parameter in net.parameters())
        total += bytes_of_run(count, fit, recipe.checkpoints)
    return total


def sheet_prompts(recipe: TrainingRecipe, dataset: ImageDataset, tokenizer: Tokenizer | None) -> list[str]:
    """Return the prompts of contact sheets: those of the recipe, or captions, or every class, or the empty one.

    Raises InputError for a prompt of too many tokens.
    """
    if tokenizer is None or recipe.denoiser.text is None:
        return [*recipe.prompts] or [*dataset.classes[:: -(-len(dataset.classes) // SHEET_CLASSES) or 1]] or [""]
    length = recipe.denoiser.text.length
    for prompt in recipe.prompts:
        cut(tokenizer, prompt, length)
    captions = [names[0] for names in dataset.captions[:: -(-len(dataset) // SHEET_PROMPTS)]]
    return [*recipe.prompts] or [text for text in captions if len(tokenizer.encode(text)) <= length] or [""]


def _tokenizer(recipe: TrainingRecipe, dataset: ImageDataset, init: Components | None) -> Tokenizer | None:
    """Train the tokenizer on every name and every other word of a caption; None where no captions are read.

    init: the model that the training starts from, whose tokenizer is used.
    """
    if recipe.denoiser.text is None:
        return None
    if init is not None and isinstance(init.text_encoder, PromptEncoder):
        return cast(Tokenizer, init.text_encoder.tokenizer)
    names = [name for phrasings in dataset.captions for name in phrasings]
    keywords = [word for words in dataset.keywords for word in words]
    return bpe.train([*names, *keywords, *grammar.vocabulary()], recipe.denoiser.text.vocab)


def _train_autoencoder(
    recipe: TrainingRecipe,
    dataset: ImageDataset,
    folder: Path,
    device: torch.device,
    report: TrainingReport,
    held_out: ImageDataset | None,
) -> Autoencoder | None:
    if recipe.autoencoder is None:
        return None
    task = AutoencoderTask(recipe, recipe.autoencoder, dataset, device, held_out)
    _train_before(task, task.fit, recipe.checkpoints, folder, report, task.monitor)
    return task.net.eval().requires_grad_(False)


def _train_before(
    task: Task,
    fit: FitOptions,
    checkpoints: CheckpointOptions,
    folder: Path,
    report: TrainingReport,
    monitor: Monitor = NOTHING,
) -> None:
    """Train a task before the last. One that has ended keeps its EMA length: what comes next rests on its weights."""
    report.stage(task.name, fit.steps)
    choice = read_choice(folder)
    if choice is not None and int(checkpoint.read_facts(folder / checkpoint.FILE)["step"]) == fit.steps:
        averaged = post_hoc_ema(folder, checkpoints, fit.steps, choice.length, task.networks.state_dict())
    else:
        averaged = train(task, fit, checkpoints, folder, report.step, monitor=monitor)
    task.networks.load_state_dict(averaged)


def _components(card: Card, autoencoder: nn.Module | None, init: Components | None, device: torch.device) -> Components:
    """Build the model of a card, with the autoencoder and the weights that the training starts from."""
    components = model_file.build(card)
    networks = components.networks()
    if autoencoder is not None:
        networks["autoencoder"].load_state_dict(autoencoder.state_dict(), assign=True)
    for role, net in init.networks().items() if init is not None else ():
        networks[role].load_state_dict(net.state_dict())
    for net in networks.values():
        net.to(device)
    return components


def _captions(encoding: Encoding, space: Space, buckets: list[Bucket]) -> Latents | None:
    """Encode every image as it is, with its captions; None where the text encoder is not trained alone."""
    recipe = encoding.recipe
    if "captions" not in recipe.fits():
        return None
    text, data = recipe.denoiser.text, recipe.data
    assert text is not None
    augment = data.augment.of_captions
    if text.keywords is not None:
        augment = replace(augment, keywords=text.keywords)
    plain = replace(encoding, recipe=replace(recipe, data=replace(data, augment=augment)))
    dataset = buckets[0].dataset
    return plain.latents(dataset, plain.encode(dataset, data.views), space, "captions-data")


def _train_captions(
    recipe: TrainingRecipe,
    plain: Latents,
    varied: Latents,
    pipeline: Pipeline,
    prompts: list[str],
    folder: Path,
    report: TrainingReport,
) -> None:
    """Train the text encoder of a pipeline alone, on images as they are and on the views of the denoiser.

    It has no validation, by which an EMA length could be chosen.
    """
    _, fit = recipe.fits()["captions"]
    task, checkpoints = CaptionTask(recipe, fit, plain, varied, pipeline, prompts), recipe.checkpoints
    if checkpoints.ema_length == "auto":
        checkpoints = replace(checkpoints, ema_length=checkpoints.ema_lengths[0])
    _train_before(task, fit, checkpoints, folder / task.name, report)


def _train_denoiser(task: DenoiserTask, components: Components, folder: Path, report: TrainingReport) -> Path:
    recipe = task.recipe
    report.stage("denoiser", recipe.denoiser.fit.steps)
    fit = recipe.denoiser.fit
    with gradient_checkpointing(task.denoiser.net, recipe.denoiser.gradient_checkpointing):
        averaged = train(task, fit, recipe.checkpoints, folder / "denoiser", report.step, monitor=task.monitor)
    path = folder / f"{recipe.name}.safetensors"
    with temporary_weights(task.networks, averaged), whole_networks(task.networks, world()):
        world().once(lambda: model_file.save(path, _timed(components, folder, task.device)))
    return path


def _timed(components: Components, folder: Path, device: torch.device) -> Components:
    return replace(components, card=with_timing(components.card, folder, device))
