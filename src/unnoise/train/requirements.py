"""What a training will need, checked before its first step: the size, the prompts of its sheets, shapes of networks."""

from collections.abc import Sequence
from math import inf

import torch

from unnoise.components import Components
from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError, quoted
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.text.encode import PromptEncoder
from unnoise.text.labels import LabelEncoder
from unnoise.train.recipe import DenoiserOptions, TrainingRecipe


def check_sheet(components: Components, prompts: Sequence[str], size: int) -> None:
    """Raise InputError where the contact sheets of a training could not be drawn."""
    if size % components.factor:
        raise InputError(f"data.size {size}: a multiple of {components.factor}, for {components.card.name!r}")
    for width, height in components.card.advice.sizes:
        if width % components.factor or height % components.factor:
            raise InputError(
                f"advice.sizes {width}x{height}: multiples of {components.factor}, for {components.card.name!r}"
            )
    try:
        if isinstance(components.text_encoder, LabelEncoder):
            components.text_encoder(prompts)
        resolve(request_of(tuple(prompts), size=size, prompt_weighting="literal"), components)
    except InputError as error:
        raise InputError(f"contact sheets (data.size, prompts, advice): {error}") from None


def check_conditioning(recipe: TrainingRecipe, dataset: ImageDataset) -> None:
    """Raise InputError unless what the data set has beside its images is what the network takes."""
    options = recipe.denoiser
    if dataset.labels and options.text is not None:
        raise InputError("denoiser.text: the data has labels, and prompts are one of both; leave one of them out")
    _check_labels(len(dataset.classes), options.classes)
    _check_captions(options, dataset)
    if options.text is None:
        _check_no_captions(recipe.data.augment)
        if not dataset.labels:
            _check_unconditional(recipe)
    check_words(recipe.data.augment, dataset)
    if options.text is not None and options.text.keywords is not None and not any(dataset.keywords):
        raise InputError(f"denoiser.text.keywords {options.text.keywords:g}: the data has no keywords; leave it out")


def _check_no_captions(augment: Augment) -> None:
    """Refuse variations of captions where none are read. A hue follows a colour word of a caption."""
    for name in ("phrase", "unknown", "hue", "keywords", "style"):
        if value := getattr(augment, name):
            raise InputError(f"data.augment.{name} {value:g}: varies captions, and the model reads none; leave it out")


def check_words(augment: Augment, dataset: ImageDataset) -> None:
    """Raise InputError where captions are varied by words that a data set does not have."""
    if augment.keywords and not any(dataset.keywords):
        raise InputError(f"data.augment.keywords {augment.keywords:g}: the data has no keywords; leave it out")
    if augment.style and not dataset.styles:
        raise InputError(f"data.augment.style {augment.style:g}: the data has no styles; leave it out")


def _check_labels(classes: int, labels: int) -> None:
    """Check the labels that a network takes against the classes of the data."""
    if classes and labels != classes + 1:
        stated = f"labels {labels}" if labels else "no labels"
        raise InputError(
            f"denoiser.net.args: {stated}, and the data has {classes} classes; set labels = {classes + 1}: one for "
            f"each, and one for no class"
        )
    if labels and not classes:
        raise InputError(f"denoiser.net.args.labels {labels}: the data has no labels; set data.labels, or leave it out")


def _check_captions(options: DenoiserOptions, dataset: ImageDataset) -> None:
    """Check the captions, the text encoder and the network against each other."""
    text = options.text
    given = {name: options.net.args[name] for name in ("context", "vector") if options.net.args.get(name)}
    if text is None:
        for name, value in given.items():
            raise InputError(
                f"denoiser.net.args.{name} {value!r}: takes captions, and no [denoiser.text] encodes them; add that "
                f"table, or leave {name} out"
            )
        if dataset.captioned:
            raise InputError(
                "data.captions: captions are read, and no [denoiser.text] encodes them, so that they would have no "
                'effect; add that table, or set captions = "none"'
            )
        return
    if not dataset.captioned:
        raise InputError("denoiser.text: the data has no captions; add some, or leave this table out")
    if not given:
        raise InputError(
            f"denoiser.net.args: neither context nor vector is set, so that captions would have no effect; set "
            f"context = {text.width}, the width of denoiser.text"
        )
    for name, value in given.items():
        if value != text.width:
            raise InputError(
                f"denoiser.net.args.{name} {value!r}: denoiser.text.width is {text.width}, and both must be the same"
            )


def _check_unconditional(recipe: TrainingRecipe) -> None:
    """Refuse what acts on captions or labels where there are none."""
    without = {
        "denoiser.caption_dropout": recipe.denoiser.caption_dropout,
        "advice.guidance_scale": recipe.advice.guidance_scale if recipe.advice.guidance_scale != 1 else None,
        "prompts": list(recipe.prompts) or None,
    }
    for name, value in without.items():
        if value is not None:
            raise InputError(f"{name} {quoted(value)}: the model reads neither captions nor labels; leave it out")


def check_coder_channels(components: Components, channels: int) -> None:
    """Raise InputError where an autoencoder has other channels than the data."""
    own = getattr(components.space, "channels", channels)
    if own != channels:
        raise InputError(f"data.channels {channels}: the autoencoder has {own} channels; both must be the same")


def _check_channels(components: Components) -> None:
    """Raise InputError where the dimensions or channels of the network, the autoencoder and the data differ."""
    card, space = components.card, components.space
    if card.net.args.get("rank", 2) != 2:
        raise InputError(f"denoiser.net.args.rank {card.net.args['rank']}: images have 2 dimensions; leave it out")
    own, cells = card.net.args.get("channels"), space.shape(components.factor, components.factor)[0]
    if own != cells:
        what = f"autoencoder has {cells} latents" if card.autoencoder else f"data has {cells} channels"
        raise InputError(f"denoiser.net.args.channels {own}: the {what}; set channels = {cells}")


def _check_mean(components: Components, size: int) -> None:
    """Raise InputError where a network predicts the mean of x0 of other sizes than the data has."""
    mean, sizes = [*(components.card.net.args.get("mean") or ())], [*components.space.shape(size, size)[1:]]
    if mean and mean != sizes:
        raise InputError(f"denoiser.net.args.mean {mean}: x0 of data.size {size} has {sizes}; set mean = {sizes}")


@torch.no_grad()
def check_networks(components: Components, size: int) -> None:
    """Run networks on the meta device, and raise InputError where their shapes do not fit each other or the size."""
    denoiser, encoder, cond = components.denoiser, components.text_encoder, Conditioning()
    if denoiser.kind == "eps" and denoiser.process.sigma_max == inf:
        raise InputError(
            f"denoiser.kind 'eps': the process {components.card.process.class_} ends in pure noise, of which a "
            f"prediction of the noise says nothing; use kind v or flow, or another process"
        )
    if denoiser.points > 1:
        raise InputError(
            f"denoiser.net.args.points {denoiser.points}: predictions along a jump, which unnoise distill trains; "
            f"leave it out"
        )
    _check_channels(components)
    _check_mean(components, size)
    try:
        with torch.device("meta"):
            x0 = components.space.encode(torch.empty(1, 3, size, size))
            components.space.decode(x0)
            if isinstance(encoder, PromptEncoder):
                mask = torch.ones(1, encoder.length, dtype=torch.bool)
                cond = encoder.net(torch.zeros(1, encoder.length, dtype=torch.int64), mask)
            elif encoder is not None:
                cond = encoder([""])[0]
            denoiser.net(x0, torch.ones(1), cond)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"denoiser.net, denoiser.text, autoencoder: they do not fit each other or data.size {size}: "
            f"{str(error).splitlines()[0]}"
        ) from error
