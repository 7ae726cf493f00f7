"""The card of a trained model: what it is built from, and the facts of its training."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from unnoise.card import Card, Part
from unnoise.components import Components
from unnoise.data import grammar
from unnoise.data.dataset import ImageDataset
from unnoise.spaces.space import Affine, Space
from unnoise.text.known_words import caption_words
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.encoded import EncodedViews
from unnoise.train.figures import read_figures, with_figures
from unnoise.train.other_models import autoencoder_part
from unnoise.train.recipe import TrainingRecipe


def make_card(
    recipe: TrainingRecipe,
    dataset: ImageDataset,
    tokenizer: Tokenizer | None,
    init: Components | None = None,
    held_out: int = 0,
) -> Card:
    """Make the card of a recipe, without shift and scale of the space, which is not measured yet.

    init: the model that the training starts from; held_out: images of the data that are not trained on.
    """
    options, text = recipe.denoiser, recipe.denoiser.text
    autoencoder = autoencoder_part(recipe.autoencoder, init)
    side = recipe.data.size
    card = Card(
        name=recipe.name,
        net=options.net,
        process=options.process,
        kind=options.kind,
        space=Part("Latent") if autoencoder else _pixels(recipe),
        advice=recipe.advice if recipe.advice.sizes else replace(recipe.advice, sizes=((side, side),)),
        licence=recipe.licence,
        autoencoder=autoencoder,
        preview=None if init is None else init.card.preview,  # x0 is that of the model, and so is its space
        labels=dataset.classes,
        training=_facts(recipe, dataset, init, held_out),
    )
    if text is None or tokenizer is None:
        return card
    sizes = {"vocab": tokenizer.size, "width": text.width, "depth": text.depth}
    encoder = Part("TextEncoder", sizes | {"heads": text.heads, "length": text.length})
    words = caption_words(chain(chain(*dataset.captions), chain(*dataset.keywords), grammar.vocabulary()))
    return replace(card, text=encoder, tokenizer=Part("Tokenizer", asdict(tokenizer)), words=words)


def _pixels(recipe: TrainingRecipe) -> Part:
    return Part("Pixels", {"channels": recipe.data.channels, "patch": recipe.denoiser.patch})


def with_sizes(card: Card, sizes: Sequence[tuple[int, int]]) -> Card:
    """Add the sizes that a model is trained on to its advice, after those that are there."""
    advice = replace(card.advice, sizes=tuple(dict.fromkeys([*card.advice.sizes, *sizes])))
    return replace(card, advice=advice) if len(sizes) > 1 else card


def with_moments(card: Card, space: Space) -> Card:
    """Add the shift and the scale of a space to a card."""
    affine: Affine = space.affine  # type: ignore[attr-defined]
    moments = {"shift": list(affine.shift), "scale": list(affine.scale)}
    return replace(card, space=Part(card.space.class_, card.space.args | moments))


def _facts(recipe: TrainingRecipe, dataset: ImageDataset, init: Components | None, held_out: int) -> dict[str, Any]:
    options, source = recipe.denoiser, recipe.autoencoder.source if recipe.autoencoder else ""
    return {
        "data": dataset.name,
        "pictures": len(dataset) - held_out,
        **({"held_out": held_out} if held_out else {}),
        "concepts": len(dataset.members),
        **({"classes": len(dataset.classes)} if dataset.labels else {}),
        **({"caption_dropout": options.dropout} if options.text or options.classes else {}),
        **({"init": f"{init.card.name} {init.card.fingerprint[:12]}"} if init else {}),
        **({"autoencoder": Path(source).name} if source else {}),
        "steps": options.fit.steps,
        "batch": options.fit.batch,
        "ema": recipe.checkpoints.ema_length,
        "seed": recipe.seed,
        "torch": torch.__version__,
    }


def without_unreadable(card: Card, encoded: Iterable[EncodedViews]) -> Card:
    """Leave the images that could not be decoded out of the count on the card."""
    left = card.training["pictures"] - sum(len(one.unreadable) for one in encoded)
    return replace(card, training=card.training | {"pictures": left})


def with_timing(card: Card, folder: Path, device: torch.device) -> Card:
    """Add the losses, the hardware and the seconds of each task to the card."""
    facts = {f"{one.task}_seconds": one.seconds for one in read_figures(folder)} | {"hardware": hardware(device)}
    card = with_figures(card, folder)
    return replace(card, training=card.training | facts)


def hardware(device: torch.device) -> str:
    """Return the name of the hardware of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
