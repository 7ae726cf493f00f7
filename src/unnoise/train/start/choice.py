"""Choose the recipe of a source: size, network and steps for the time that is given."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, sqrt
from pathlib import Path
from typing import Literal

from unnoise.card import Advice, Part
from unnoise.data.columns import FOLDERS
from unnoise.devices import size as bytes_text
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import (
    AutoencoderOptions,
    DataOptions,
    DenoiserOptions,
    TextOptions,
    TrainingRecipe,
)
from unnoise.train.start.facts import VOCABULARY, SourceFacts
from unnoise.train.start.probe import StepCost

MULTIPLE = 4  # of the side of what the net computes on: it halves twice
DRAWN = 2000.0  # images that a training needs, over the square root of their number
REPEATED = 100  # draws of an image from which on it is memorised
SHARE = 0.25  # of the time, for the autoencoder
ENCODES = 2500  # steps of an autoencoder that are enough
USED = 0.92  # of the time, for steps; contact sheets, checkpoints and encoding need the rest
OPENING = 10.0  # seconds for what comes before
LEAST = 0.5  # of the images that a training needs: fewer are said
BATCH = 16
LONGEST = 64  # tokens of a prompt; longer captions are cut
GUIDANCE = 1.5
SHEETS = 4


@dataclass(frozen=True, slots=True)
class Network:
    """A U-Net that can be chosen, and the size of image that it is for.

    Args:
        side: pixels of an image, at most.
        factor: pixels of a side that become one latent; 1 works on pixels.
        latents: channels of a latent.
        encoder: width of the autoencoder.
        widths, depths, heads: of the U-Net, finest first.
        text: width of the text encoder.
    """

    side: int
    factor: int
    latents: int
    encoder: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    text: int


NETWORKS = (  # each costs two to four times the one before
    Network(64, 4, 4, 64, (64, 128, 192), (1, 1, 2), (0, 2, 3), 96),
    Network(64, 4, 4, 96, (96, 192, 256), (1, 2, 3), (0, 3, 4), 192),
    Network(128, 8, 8, 128, (128, 256, 320), (1, 2, 3), (0, 4, 5), 256),
    Network(256, 8, 8, 128, (128, 256, 384), (2, 2, 4), (0, 4, 6), 384),
)
LARGEST_PIXELS = 40  # shorter side of images that need no autoencoder
PIXELS = (
    Network(40, 1, 3, 0, (32, 64, 128), (1, 1, 2), (0, 0, 2), 96),
    Network(40, 1, 3, 0, (64, 128, 192), (1, 1, 2), (0, 2, 3), 96),
    Network(40, 1, 3, 0, (96, 192, 256), (1, 2, 3), (0, 3, 4), 192),
)


@dataclass(frozen=True, slots=True)
class Start:
    """A recipe for a source, and the reasons for it, one line each."""

    recipe: TrainingRecipe
    reasons: tuple[str, ...]


def name_of(source: Path) -> str:
    """Return the name of the model of a source: that of its file or folder, without spaces and signs."""
    return (
        re.sub(r"[^\w.-]+", "-", source.resolve().stem if source.suffix == ".tar" else source.resolve().name).strip(
            "-."
        )
        or "model"
    )


def default_minutes(images: int) -> float:
    """Return the minutes of a training where none are given."""
    return 5.0 if images <= 200 else 20.0 if images <= 2000 else 60.0


def choose(facts: SourceFacts, name: str, minutes: float | None, cost: Callable[[TrainingRecipe], StepCost]) -> Start:
    """Choose the largest network that sees enough images in the time; the smallest where none does.

    Args:
        facts: of the source.
        name: of the model.
        minutes: of the whole training; by the number of images where it is None.
        cost: measures a step of a recipe.
    """
    seconds = 60 * (default_minutes(facts.images) if minutes is None else minutes)
    ladder = PIXELS if facts.side <= LARGEST_PIXELS else [one for one in NETWORKS if one.side < 2 * facts.side]
    found: tuple[Network, TrainingRecipe, StepCost] | None = None
    for network in ladder:
        recipe = _recipe(facts, name, network)
        measured = cost(recipe)
        timed = _timed(recipe, measured, seconds)
        enough = timed.denoiser.fit.steps * BATCH >= DRAWN * sqrt(facts.images)
        if found is None or enough:
            found = network, timed, measured
        if not enough:
            break
    assert found is not None
    return Start(found[1], tuple(_reasons(facts, seconds, minutes is None, *found)))


def _recipe(facts: SourceFacts, name: str, network: Network) -> TrainingRecipe:
    """Return the recipe of a network, whose steps are not chosen yet."""
    multiple = MULTIPLE * network.factor
    channels: Literal[1, 3] = 1 if facts.grey else 3
    side = max(2 * MULTIPLE, min(network.side, facts.side) // multiple * multiple)
    fit = FitOptions(1, BATCH, learning_rate=1.5e-3, decay=0.6, optimizer="muon")
    is_latent, prompted = network.factor > 1, bool(facts.captions or facts.classes)
    return TrainingRecipe(
        name=name,
        data=DataOptions(facts.source, side, labels=facts.labels, channels=channels, views=1),
        denoiser=DenoiserOptions(
            fit,
            Part("UNet", _arguments(facts, network, network.latents if is_latent else channels)),
            Part("Flow"),
            kind="v",
            weighting="v",
            level_mean=2.0,
            level_std=1.8,
            text=TextOptions(VOCABULARY, network.text, 1, 4, _length(facts.tokens), 5.0) if facts.captions else None,
        ),
        autoencoder=AutoencoderOptions(
            replace(fit, learning_rate=2e-3),
            args={"channels": channels, "latents": network.latents, "factor": network.factor, "width": network.encoder},
            kl=1e-3,
        )
        if is_latent
        else None,
        advice=Advice(guidance_scale=GUIDANCE, guidance_range=(1.0, 4.0)) if prompted else Advice(),
        checkpoints=CheckpointOptions(ema_every=1),
    )


def _arguments(facts: SourceFacts, network: Network, channels: int) -> dict[str, object]:
    """Return the arguments of the net."""
    args: dict[str, object] = {"channels": channels, "clock": "unit"}
    args |= {name: [*getattr(network, name)] for name in ("widths", "depths", "heads")}
    if facts.captions:
        args |= {"context": network.text, "vector": network.text}
    if facts.classes:
        args["labels"] = facts.classes + 1
    return args


def _length(tokens: int) -> int:
    """Return the tokens of a prompt: those of the longest caption and a few more, at most LONGEST."""
    return min(LONGEST, -(-(tokens + 4) // 8) * 8)


def _timed(recipe: TrainingRecipe, cost: StepCost, seconds: float) -> TrainingRecipe:
    """Return a recipe with as many steps as fit into the time."""
    left = max(0.0, USED * seconds - OPENING)
    coder = recipe.autoencoder
    if coder is not None and coder.fit is not None:
        steps = max(1, min(ENCODES, int(SHARE * left / cost.autoencoder)))
        left -= steps * cost.autoencoder
        coder = replace(coder, fit=_with_steps(coder.fit, steps))
    fit = _with_steps(recipe.denoiser.fit, max(1, int(left / cost.denoiser)))
    every = max(1, fit.steps // SHEETS)
    minute = max(1, round(60 / cost.denoiser))
    checkpoints = CheckpointOptions(
        ema_lengths=(0.05, 0.15), ema_length=0.1, ema_every=1, snapshot_every=every, every=minute, sheet_every=every
    )
    denoiser = replace(recipe.denoiser, fit=fit)
    return replace(recipe, denoiser=denoiser, autoencoder=coder, checkpoints=checkpoints)


def _with_steps(fit: FitOptions, steps: int) -> FitOptions:
    return replace(fit, steps=steps, warmup=min(50, -(-steps // 10)))


def _reasons(
    facts: SourceFacts, seconds: float, is_default: bool, network: Network, recipe: TrainingRecipe, cost: StepCost
) -> Iterator[str]:
    """Say what was found, what was chosen and why, one line each."""
    fit, coder, side = recipe.denoiser.fit, recipe.autoencoder, recipe.data.size
    drawn = fit.steps * fit.batch / facts.images
    yield _found(facts)
    works_on = "pixels"
    if coder is not None and coder.fit is not None:
        grid = side // network.factor
        works_on = f"latents of {grid} x {grid}, by an autoencoder of {counted(coder.fit.steps, 'step')}"
    yield f"size {side}: images are scaled and cropped to {side} x {side}; the denoiser works on {works_on}"
    widths = ", ".join(map(str, network.widths))
    steps = f"{counted(fit.steps, 'step')} of {fit.batch} images"
    yield f"a U-Net of widths {widths}; {steps}, {cost.denoiser:.2g} s each as measured"
    chosen = "by default" if is_default else "as given"
    yield f"about {_minutes(seconds)} in all, {chosen}: --minutes; {bytes_text(cost.memory)} of memory as measured"
    if drawn >= REPEATED:
        yield f"each image is drawn {drawn:.0f} times: the model learns so few by heart, and generates close copies"
    short = LEAST * DRAWN * sqrt(facts.images) / (fit.steps * fit.batch)
    if short > 1:
        enough = ceil(short * seconds / 60)
        yield f"{counted(fit.steps, 'step')}: too few for a recognisable image; --minutes {enough} is about enough here"


def _found(facts: SourceFacts) -> str:
    low, high = facts.sides
    sides = f"{low}" if low == high else f"{low} to {high}"
    parts = [f"{counted(facts.images, 'image')}, shorter side {sides} pixels"]
    if facts.skipped:
        parts.append(f"{facts.skipped} left out")
    if facts.captions:
        parts.append(f"{counted(facts.captions, 'caption')} of up to {facts.tokens} tokens, which a text encoder reads")
    elif facts.classes:
        named = "by sub-folder" if facts.labels == FOLDERS else f"by the column {facts.labels!r}"
        parts.append(f"{facts.classes} classes {named}, whose names are the prompts")
    else:
        parts.append("no captions and no labels: the model has no prompt")
    if facts.transparent:
        parts.append(f"{facts.transparent:.0%} of them transparent, placed on white")
    if facts.grey:
        parts.append("all grey: the model has one channel")
    return "; ".join(parts)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.2g} minutes" if seconds < 5400 else f"{seconds / 3600:.2g} hours"
