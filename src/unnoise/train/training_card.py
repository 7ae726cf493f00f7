"""The card of a trained model: what it is built from, and the facts of its training."""

import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from unnoise.card import Card, Part
from unnoise.data.dataset import ImageDataset
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.loop import training_seconds
from unnoise.train.recipe import TrainingRecipe


def make_card(
    recipe: TrainingRecipe, dataset: ImageDataset, space: Pixels | Latent | None, tokenizer: Tokenizer | None
) -> Card:
    """Make the card of a recipe; without shift and scale where the space is not measured yet."""
    options, text = recipe.denoiser, recipe.denoiser.text
    latent = recipe.autoencoder is not None
    arguments: dict[str, Any] = {} if latent else {"channels": recipe.data.channels}
    if space is not None:
        arguments |= {"shift": list(space.affine.shift), "scale": list(space.affine.scale)}
    side = recipe.data.size
    card = Card(
        name=recipe.name,
        net=options.net,
        process=options.process,
        kind=options.kind,
        space=Part("Latent" if latent else "Pixels", arguments),
        advice=recipe.advice if recipe.advice.sizes else replace(recipe.advice, sizes=((side, side),)),
        licence=recipe.licence,
        autoencoder=Part("Autoencoder", recipe.autoencoder.args) if recipe.autoencoder else None,
        labels=dataset.classes,
        training=_facts(recipe, dataset),
    )
    if text is None or tokenizer is None:
        return card
    sizes = {"vocab": tokenizer.size, "width": text.width, "depth": text.depth}
    encoder = Part("TextEncoder", sizes | {"heads": text.heads, "length": text.length})
    return replace(card, text=encoder, tokenizer=Part("Tokenizer", asdict(tokenizer)))


def _facts(recipe: TrainingRecipe, dataset: ImageDataset) -> dict[str, Any]:
    options = recipe.denoiser
    return {
        "data": dataset.name,
        "pictures": len(dataset),
        "concepts": len(dataset.members),
        **({"classes": len(dataset.classes)} if dataset.labels else {}),
        **({"caption_dropout": options.dropout} if options.text or options.classes else {}),
        "steps": options.fit.steps,
        "batch": options.fit.batch,
        "ema": recipe.checkpoints.ema_length,
        "seed": recipe.seed,
        "torch": torch.__version__,
    }


def with_timing(card: Card, folder: Path, device: torch.device) -> Card:
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
