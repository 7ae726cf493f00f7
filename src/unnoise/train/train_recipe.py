"""Train the model of a recipe: open the data, train the autoencoder, encode every view, train the denoiser, save."""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Protocol

import torch

from unnoise import model_file
from unnoise.card import Card, Part
from unnoise.components import Components
from unnoise.data.buckets import warn_of_square
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.shuffle import members_of
from unnoise.data.view import BACKGROUNDS, PHRASES, View, render_views
from unnoise.diffusion.loss import factor
from unnoise.formats.strict_json import dump
from unnoise.nets.autoencoder import Autoencoder
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.spaces.space import measure
from unnoise.text import tokenizer as bpe
from unnoise.text.encode import cut
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.autoencoder import AutoencoderTask
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.fit_options import check_compiler
from unnoise.train.latents import BATCH, Latents, all_views, encode_views, tokenize_views
from unnoise.train.loop import temporary_weights, train, training_seconds
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.requirements import check_captions, check_networks, check_sheet
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.task import Progress

SHEET_PROMPTS = 16  # where the recipe has none


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
    dataset = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    tokenizer = bpe.train(_tokenizer_texts(dataset), recipe.denoiser.text.vocab)
    prompts = sheet_prompts(recipe, dataset, tokenizer)
    with claimed_folder(recipe, folder, resume, _check(recipe, dataset, tokenizer, prompts)):
        report.opened(dataset)
        autoencoder = _train_autoencoder(recipe, dataset, folder / "autoencoder", device, report)
        space = _measure_space(dataset, autoencoder)
        views = all_views(dataset, recipe.data, recipe.seed)
        report.stage("views", len(views))
        key = _latents_key(recipe, autoencoder)
        x0 = encode_views(dataset, views, space, folder / "latents.safetensors", key, report.encoded, device)
        ids, lengths = tokenize_views(views, tokenizer, recipe.denoiser.text.length)
        shape = (len(dataset), recipe.data.views)
        members = members_of(dataset.concepts, range(len(dataset)))
        latents = Latents(x0.unflatten(0, shape), ids.unflatten(0, shape), lengths.unflatten(0, shape), members)
        torch.manual_seed(recipe.seed)
        components = model_file.build(make_card(recipe, dataset, space, tokenizer))
        networks = components.networks()
        if autoencoder is not None:
            networks["autoencoder"].load_state_dict(autoencoder.state_dict())
        for net in networks.values():
            net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        task = DenoiserTask(recipe, dataset, latents, Pipeline.of(components), prompts)
        return _train_denoiser(task, components, folder, report)


def _check(recipe: TrainingRecipe, dataset: ImageDataset, tokenizer: Tokenizer, prompts: list[str]) -> int:
    """Check what the run will need, and return the bytes that it will write. Raises InputError."""
    options, side = recipe.denoiser, recipe.data.size
    check_captions(options.net.args, options.text.width)
    components = model_file.build(make_card(recipe, dataset, None, tokenizer), device="meta")
    factor(options.weighting, options.kind, torch.ones(1))
    check_sheet(components, prompts, side)
    check_networks(components, side)
    warn_of_square(dataset)
    total = 2 * prod(components.space.shape(side, side)) * len(dataset) * recipe.data.views
    networks = components.networks()
    for task, (_, fit) in recipe.fits().items():
        check_compiler(fit)
        trained = [networks["autoencoder"]] if task == "autoencoder" else [networks["net"], networks["text"]]
        count = sum(parameter.numel() for net in trained for parameter in net.parameters())
        total += bytes_of_run(count, fit, recipe.checkpoints)
    return total


def sheet_prompts(recipe: TrainingRecipe, dataset: ImageDataset, tokenizer: Tokenizer) -> list[str]:
    """Return the prompts of contact sheets: those of the recipe, or captions. Raises InputError for too many tokens."""
    length = recipe.denoiser.text.length
    for prompt in recipe.prompts:
        cut(tokenizer, prompt, length)
    captions = [names[0] for names in dataset.captions[:: -(-len(dataset) // SHEET_PROMPTS)]]
    return [*recipe.prompts] or [text for text in captions if len(tokenizer.encode(text)) <= length] or [""]


def _train_autoencoder(
    recipe: TrainingRecipe, dataset: ImageDataset, folder: Path, device: torch.device, report: TrainingReport
) -> Autoencoder | None:
    if recipe.autoencoder is None:
        return None
    task = AutoencoderTask(recipe, recipe.autoencoder, dataset, device)
    report.stage("autoencoder", recipe.autoencoder.fit.steps)
    averaged = train(task, recipe.autoencoder.fit, recipe.checkpoints, folder, report.step)
    task.networks.load_state_dict(averaged)
    return task.net.eval().requires_grad_(False)


def _measure_space(dataset: ImageDataset, autoencoder: Autoencoder | None) -> Pixels | Latent:
    """Make the space whose x0 has zero mean and unit variance over the images without augmentation."""
    device = torch.device("cpu") if autoencoder is None else next(autoencoder.parameters()).device
    plain = (torch.stack([render_views(dataset, [View(i, "")])[0] for i in part]) for part in _batches(len(dataset)))
    batches = (batch.to(device, memory_format=torch.channels_last) for batch in plain)
    if autoencoder is None:
        return Pixels(3, *measure(lambda data: data, batches))
    return Latent(autoencoder, *measure(lambda data: autoencoder.encode(data)[0], batches))


def _batches(count: int) -> Iterator[range]:
    return (range(i, min(i + BATCH, count)) for i in range(0, count, BATCH))


def _tokenizer_texts(dataset: ImageDataset) -> list[str]:
    """List the texts that the tokenizer is trained on: every name, and every other word of a caption."""
    names = [name for phrasings in dataset.captions for name in phrasings]
    return names + [f"{phrase.format('')} on a {colour} background" for phrase in PHRASES for colour in BACKGROUNDS]


def _latents_key(recipe: TrainingRecipe, autoencoder: Autoencoder | None) -> str:
    """Hash everything that decides the latents: data options, seed and the weights of the autoencoder."""
    digest = hashlib.sha256(dump(recipe.data).encode() + str(recipe.seed).encode())
    for tensor in [] if autoencoder is None else autoencoder.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def make_card(
    recipe: TrainingRecipe, dataset: ImageDataset, space: Pixels | Latent | None, tokenizer: Tokenizer
) -> Card:
    """Make the card of a recipe; without shift and scale where the space is not measured yet."""
    options, text = recipe.denoiser, recipe.denoiser.text
    moments = {"shift": list(space.affine.shift), "scale": list(space.affine.scale)} if space else {}
    latent = recipe.autoencoder is not None
    sizes = {"vocab": tokenizer.size, "width": text.width, "depth": text.depth}
    side = recipe.data.size
    return Card(
        name=recipe.name,
        net=options.net,
        process=options.process,
        kind=options.kind,
        space=Part("Latent" if latent else "Pixels", moments),
        advice=recipe.advice if recipe.advice.sizes else replace(recipe.advice, sizes=((side, side),)),
        licence=recipe.licence,
        autoencoder=Part("Autoencoder", recipe.autoencoder.args) if recipe.autoencoder else None,
        text=Part("TextEncoder", sizes | {"heads": text.heads, "length": text.length}),
        tokenizer=Part("Tokenizer", asdict(tokenizer)),
        training={
            "data": dataset.name,
            "pictures": len(dataset),
            "concepts": len(dataset.members),
            "caption_dropout": options.caption_dropout,
            "steps": options.fit.steps,
            "batch": options.fit.batch,
            "ema": recipe.checkpoints.ema_length,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )


def _train_denoiser(task: DenoiserTask, components: Components, folder: Path, report: TrainingReport) -> Path:
    recipe = task.recipe
    report.stage("denoiser", recipe.denoiser.fit.steps)
    averaged = train(task, recipe.denoiser.fit, recipe.checkpoints, folder / "denoiser", report.step)
    path = folder / f"{recipe.name}.safetensors"
    with temporary_weights(task.networks, averaged):
        model_file.save(path, replace(components, card=_with_timing(components.card, folder, task.device)))
    return path


def _with_timing(card: Card, folder: Path, device: torch.device) -> Card:
    """Add the hardware and the seconds of each task to the card."""
    seconds = {f"{task.name}_seconds": training_seconds(task) for task in sorted(folder.iterdir()) if task.is_dir()}
    return replace(card, training=card.training | seconds | {"hardware": hardware(device)})


def hardware(device: torch.device) -> str:
    """Return the name of the hardware of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
