"""Train the model of a recipe: open the data, train the autoencoder, encode every view, train the denoiser, save."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from unnoise import model_file
from unnoise.card import Card
from unnoise.components import Components
from unnoise.data.buckets import warn_of_enlarged, warn_of_square
from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import members_of
from unnoise.data.split import split_validation
from unnoise.data.view import BACKGROUNDS, PHRASES, plain_view, render_views
from unnoise.diffusion.loss import factor
from unnoise.formats.strict_json import dump
from unnoise.nets.autoencoder import Autoencoder
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.spaces.space import Space, measure
from unnoise.text import tokenizer as bpe
from unnoise.text.encode import PromptEncoder, cut
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.autoencoder import AutoencoderTask
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.ema_choice import check_ema_length
from unnoise.train.fit_options import check_compiler
from unnoise.train.latents import BATCH, Latents, all_views, encode_views, tokenize_views
from unnoise.train.loop import train
from unnoise.train.other_models import load_frozen, load_init
from unnoise.train.processes import run_facts, world
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.requirements import check_coder_channels, check_conditioning, check_networks, check_sheet
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.shard import whole_networks
from unnoise.train.task import Progress
from unnoise.train.training_card import make_card, with_moments, with_timing
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
    whole = recipe.data.open()
    dataset, held_out = split_validation(whole, recipe.data.validation)
    check_ema_length(recipe.checkpoints, held_out is not None)
    check_conditioning(recipe, whole)
    init = load_init(recipe, whole.classes, device)
    tokenizer = _tokenizer(recipe, dataset, init)
    prompts = sheet_prompts(recipe, dataset, tokenizer)
    card = make_card(recipe, whole, tokenizer, init, 0 if held_out is None else len(held_out))
    needed = _check(recipe, dataset, card, prompts)
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        autoencoder = load_frozen(recipe.autoencoder, init, device)
        if autoencoder is None:
            autoencoder = _train_autoencoder(recipe, dataset, folder / "autoencoder", device, report, held_out)
        space = _measure_space(recipe, dataset, autoencoder) if init is None else init.space
        key = _latents_key(recipe, autoencoder)
        encode = _Encoding(recipe, space, tokenizer, whole.classes, key, device, report)
        latents = encode(dataset, recipe.data.views, folder / "latents.safetensors")
        held = None if held_out is None else encode(held_out, 1, folder / "validation.safetensors")
        torch.manual_seed(recipe.seed)
        components = model_file.build(with_moments(card, space))
        networks = components.networks()
        if autoencoder is not None:
            networks["autoencoder"].load_state_dict(autoencoder.state_dict(), assign=True)
        for role, net in init.networks().items() if init is not None else ():
            networks[role].load_state_dict(net.state_dict())
        for net in networks.values():
            net.to(device)
        task = DenoiserTask(recipe, dataset, latents, Pipeline.of(components), prompts, held)
        return _train_denoiser(task, components, folder, report)


def _check(recipe: TrainingRecipe, dataset: ImageDataset, card: Card, prompts: list[str]) -> int:
    """Check what the run will need, and return the bytes that it will write. Raises InputError."""
    options, side = recipe.denoiser, recipe.data.size
    components = model_file.build(card, device="meta")
    check_coder_channels(components, recipe.data.channels)
    factor(options.weighting, options.kind, torch.ones(1))
    check_sheet(components, prompts, side)
    check_networks(components, side)
    warn_of_square(dataset)
    warn_of_enlarged(dataset, side)
    total = 2 * prod(components.space.shape(side, side)) * len(dataset) * recipe.data.views
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
    others = [f"{phrase.format('')} on a {colour} background" for phrase in PHRASES for colour in BACKGROUNDS]
    return bpe.train(names + others, recipe.denoiser.text.vocab)


@dataclass(frozen=True)
class _Encoding:
    """How images are encoded, those of training and those held out. classes: of all; key: of the latents."""

    recipe: TrainingRecipe
    space: Space
    tokenizer: Tokenizer | None
    classes: tuple[str, ...]
    key: str
    device: torch.device
    report: TrainingReport

    def __call__(self, dataset: ImageDataset, count: int, path: Path) -> Latents:
        """Encode `count` views of each image, or read them from `path`, with their captions or their labels."""
        recipe, text, shape = self.recipe, self.recipe.denoiser.text, (len(dataset), count)
        views = all_views(dataset, replace(recipe.data, views=count), recipe.seed)
        self.report.stage("views", len(views))
        with world().first():  # what one process encodes, the others read
            x0 = encode_views(dataset, views, self.space, path, self.key, self.report.encoded, self.device)
        rows, members = x0.unflatten(0, shape), members_of(dataset.concepts, range(len(dataset)))
        if dataset.labels:
            return Latents(rows, members, labels=torch.tensor([self.classes.index(name) for name in dataset.labels]))
        if self.tokenizer is None or text is None:
            return Latents(rows, members)
        ids, lengths = tokenize_views(views, self.tokenizer, text.length)
        return Latents(rows, members, ids.unflatten(0, shape), lengths.unflatten(0, shape))


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
    report.stage("autoencoder", task.fit.steps)
    averaged = train(task, task.fit, recipe.checkpoints, folder, report.step, monitor=task.monitor)
    task.networks.load_state_dict(averaged)
    return task.net.eval().requires_grad_(False)


def _measure_space(recipe: TrainingRecipe, dataset: ImageDataset, autoencoder: Any) -> Pixels | Latent:
    """Make the space whose x0 has zero mean and unit variance over the images without augmentation."""
    device = torch.device("cpu") if autoencoder is None else next(autoencoder.parameters()).device
    plain = (
        torch.stack([render_views(dataset, [plain_view(dataset, i)])[0] for i in part])
        for part in _batches(len(dataset))
    )
    batches = (batch.to(device, memory_format=torch.channels_last) for batch in plain)
    if autoencoder is None:
        channels = recipe.data.channels
        return Pixels(channels, *measure(Pixels(channels).encode, batches), recipe.denoiser.patch)
    return Latent(autoencoder, *measure(Latent(autoencoder).encode, batches))


def _batches(count: int) -> Iterator[range]:
    return (range(i, min(i + BATCH, count)) for i in range(0, count, BATCH))


def _latents_key(recipe: TrainingRecipe, autoencoder: nn.Module | None) -> str:
    """Hash everything that decides the latents: data options, seed and the weights of the autoencoder."""
    digest = hashlib.sha256(dump(recipe.data).encode() + str(recipe.seed).encode())
    for tensor in [] if autoencoder is None else autoencoder.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _train_denoiser(task: DenoiserTask, components: Components, folder: Path, report: TrainingReport) -> Path:
    recipe = task.recipe
    report.stage("denoiser", recipe.denoiser.fit.steps)
    fit = recipe.denoiser.fit
    averaged = train(task, fit, recipe.checkpoints, folder / "denoiser", report.step, monitor=task.monitor)
    path = folder / f"{recipe.name}.safetensors"
    with temporary_weights(task.networks, averaged), whole_networks(task.networks, world()):
        world().once(lambda: model_file.save(path, _timed(components, folder, task.device)))
    return path


def _timed(components: Components, folder: Path, device: torch.device) -> Components:
    return replace(components, card=with_timing(components.card, folder, device))
