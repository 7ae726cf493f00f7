"""From a recipe to a model file: open the data, train the autoencoder, encode every view, train the denoiser, save."""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import torch

from unnoise import model_file
from unnoise.card import Card, Part
from unnoise.data.dataset import ImageDataset, open_source
from unnoise.data.view import BACKGROUNDS, PHRASES, View, pixels_of
from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
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
from unnoise.train.latents import BATCH, Latents, encode_views, tokens_of, views_of
from unnoise.train.loop import Progress, seconds_of, train, using
from unnoise.train.recipe import TrainingRecipe


class TrainingReport(Protocol):
    """Where the progress of a run goes."""

    def opened(self, source: ImageDataset) -> None:
        """The pictures are found, and those that cannot be read are counted."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""

    def step(self, progress: Progress) -> None:
        """A network took a step."""

    def encoded(self, done: int, total: int) -> None:
        """So many views are encoded."""


def train_recipe(
    recipe: TrainingRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train what a recipe describes and give the path of the model's file, `folder/NAME.safetensors`.

    Raises InputError where a part of the recipe cannot be made, the folder holds a run and `resume` is not asked for, or
    it holds the run of another recipe.
    """
    source = open_source(recipe.data.source, recipe.data.size, recipe.data.strict)
    tokenizer = bpe.train(_texts(source), recipe.denoiser.text.vocab)
    for prompt in recipe.prompts:
        cut(tokenizer, prompt, recipe.denoiser.text.length)
    model_file.build(card_of(recipe, source, None, tokenizer), device="meta")
    claim(dump(recipe), folder, resume)
    report.opened(source)
    coder = _train_autoencoder(recipe, source, folder / "autoencoder", device, report)
    space = _measured(source, coder)
    views = views_of(source, recipe.data, recipe.seed)
    report.stage("views", len(views))
    x0 = encode_views(source, views, space, folder / "latents.safetensors", _key(recipe, coder), report.encoded)
    ids, lengths = tokens_of(views, tokenizer, recipe.denoiser.text.length)
    shape = (len(source), recipe.data.views)
    latents = Latents(x0.unflatten(0, shape), ids.unflatten(0, shape), lengths.unflatten(0, shape))
    torch.manual_seed(recipe.seed)
    pipeline = Pipeline.of(model_file.build(card_of(recipe, source, space, tokenizer)))
    if coder is not None:
        pipeline.networks()["autoencoder"].load_state_dict(coder.state_dict())
    return _train_denoiser(recipe, source, latents, pipeline, folder, device, report)


def claim(recipe: str, folder: Path, resume: bool) -> None:
    """Take a folder for a recipe, as JSON, or go on where it stopped. Raises InputError for the folder of another."""
    mark = folder / "recipe.json"
    if not mark.exists():
        with replacing(mark) as file:
            file.write(recipe.encode())
    elif not resume:
        raise InputError(f"--out {str(folder)!r}: holds a run already; go on with --resume, or name another folder")
    elif mark.read_text() != recipe:
        raise InputError(f"--out {str(folder)!r}: holds the run of another recipe; name another folder")


def _train_autoencoder(
    recipe: TrainingRecipe, source: ImageDataset, folder: Path, device: torch.device, report: TrainingReport
) -> Autoencoder | None:
    if recipe.autoencoder is None:
        return None
    task = AutoencoderTask(recipe, recipe.autoencoder, source, device)
    report.stage("autoencoder", recipe.autoencoder.fit.steps)
    averaged = train(task, recipe.autoencoder.fit, recipe.keep, folder, report.step)
    task.parts.load_state_dict(averaged)
    return task.net.eval().requires_grad_(False)


def _measured(source: ImageDataset, coder: Autoencoder | None) -> Pixels | Latent:
    """Make the space whose x0 has zero mean and unit variance over the pictures as they are."""
    device = torch.device("cpu") if coder is None else next(coder.parameters()).device
    plain = (torch.stack([pixels_of(source, [View(i, "")])[0] for i in part]) for part in _parts(len(source)))
    batches = (batch.to(device, memory_format=torch.channels_last) for batch in plain)
    if coder is None:
        return Pixels(3, *measure(lambda data: data, batches))
    return Latent(coder, *measure(lambda data: coder.encode(data)[0], batches))


def _parts(count: int) -> Iterator[range]:
    return (range(i, min(i + BATCH, count)) for i in range(0, count, BATCH))


def _texts(source: ImageDataset) -> list[str]:
    """List what the tokenizer learns from: every name, and every other word of a caption."""
    names = [name for phrasings in source.captions for name in phrasings]
    return names + [f"{phrase.format('')} on a {colour} background" for phrase in PHRASES for colour in BACKGROUNDS]


def _key(recipe: TrainingRecipe, coder: Autoencoder | None) -> str:
    """Name what decides the encoded views: data, seed and the autoencoder's weights."""
    digest = hashlib.sha256(dump(recipe.data).encode() + str(recipe.seed).encode())
    for tensor in [] if coder is None else coder.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def card_of(recipe: TrainingRecipe, source: ImageDataset, space: Pixels | Latent | None, tokenizer: Tokenizer) -> Card:
    """Write the card; before the space is measured, with its moments left out."""
    own, text = recipe.denoiser, recipe.denoiser.text
    moments = {"shift": list(space.affine.shift), "scale": list(space.affine.scale)} if space else {}
    latent = recipe.autoencoder is not None
    sizes = {"vocab": tokenizer.size, "width": text.width, "depth": text.depth}
    side = recipe.data.size
    return Card(
        name=recipe.name,
        net=own.net,
        process=own.process,
        kind=own.kind,
        space=Part("Latent" if latent else "Pixels", moments),
        advice=recipe.advice if recipe.advice.sizes else replace(recipe.advice, sizes=((side, side),)),
        licence=recipe.licence,
        autoencoder=Part("Autoencoder", recipe.autoencoder.args) if recipe.autoencoder else None,
        text=Part("TextEncoder", sizes | {"heads": text.heads, "length": text.length}),
        tokenizer=Part("Tokenizer", asdict(tokenizer)),
        training={
            "data": source.name,
            "pictures": len(source),
            "concepts": len(source.members),
            "caption_dropout": own.dropout,
            "steps": own.fit.steps,
            "batch": own.fit.batch,
            "ema": recipe.keep.length,
            "seed": recipe.seed,
            "torch": torch.__version__,
        },
    )


def _train_denoiser(
    recipe: TrainingRecipe,
    source: ImageDataset,
    latents: Latents,
    pipeline: Pipeline,
    folder: Path,
    device: torch.device,
    report: TrainingReport,
) -> Path:
    for net in pipeline.networks().values():
        net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = DenoiserTask(recipe, source, latents, pipeline)
    report.stage("denoiser", recipe.denoiser.fit.steps)
    averaged = train(task, recipe.denoiser.fit, recipe.keep, folder / "denoiser", report.step)
    path = folder / f"{recipe.name}.safetensors"
    with using(task.parts, averaged):
        model_file.save(path, replace(pipeline, card=_timed(pipeline.card, folder, device)))
    return path


def _timed(card: Card, folder: Path, device: torch.device) -> Card:
    """Write on the card what trained it, and the seconds that each task took."""
    seconds = {f"{task.name}_seconds": seconds_of(task) for task in sorted(folder.iterdir()) if task.is_dir()}
    return replace(card, training=card.training | seconds | {"hardware": hardware(device)})


def hardware(device: torch.device) -> str:
    """Name what a network was trained on, as far as torch knows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
