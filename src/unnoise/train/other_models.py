"""What a training takes from other models: a frozen autoencoder, or the weights that it starts from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from unnoise import model_file
from unnoise.card import Card, Part, has_card, read_card
from unnoise.components import Components
from unnoise.embedded import find
from unnoise.errors import InputError, quoted
from unnoise.train.recipe import AutoencoderOptions, TrainingRecipe

TEXT = ("width", "depth", "heads", "length")  # of the text encoder; its vocabulary is that of the tokenizer


@dataclass(frozen=True, slots=True)
class FrozenAutoencoder:
    """The autoencoder of another model. part: of the card; own: whether the model is of this program."""

    path: Path
    part: Part
    own: bool

    def load(self, device: torch.device) -> nn.Module:
        """Load it with float32 weights."""
        if self.own:
            return model_file.load(self.path, device).networks()["autoencoder"]
        from unnoise.integrations.diffusers.autoencoder_file import load_autoencoder

        net: nn.Module = load_autoencoder(self.path, device)
        return net


def frozen_autoencoder(source: str) -> FrozenAutoencoder:
    """Read which autoencoder a model has, without its weights.

    Args:
        source: name or file of a model of this program, or a foreign model: a diffusers folder, the folder of its
            autoencoder, a single file.

    Raises:
        InputError: it has none.
    """
    path = find(source)
    if has_card(path):
        part = read_card(path).autoencoder
        if part is None:
            raise InputError(f"autoencoder.source {source!r}: works on pixels, and has no autoencoder")
        return FrozenAutoencoder(path, part, own=True)
    from unnoise.integrations.diffusers.autoencoder_file import read_autoencoder

    found = read_autoencoder(path)
    return FrozenAutoencoder(path, Part(found.class_, dict(found.config)), own=False)


def autoencoder_part(options: AutoencoderOptions | None, init: Components | None) -> Part | None:
    """Return the autoencoder of the card: that of the weights to start from, a frozen one, one to be trained, none."""
    if init is not None:
        return init.card.autoencoder
    if options is None:
        return None
    return frozen_autoencoder(options.source).part if options.source else Part("Autoencoder", options.args)


def load_frozen(options: AutoencoderOptions | None, init: Components | None, device: torch.device) -> nn.Module | None:
    """Load the autoencoder that is not trained here, None where there is none."""
    if init is not None:
        return init.networks().get("autoencoder")
    return frozen_autoencoder(options.source).load(device) if options is not None and options.source else None


def load_init(recipe: TrainingRecipe, labels: tuple[str, ...], device: torch.device) -> Components | None:
    """Load the model that the training starts from, None where there is none.

    Args:
        recipe: of the training.
        labels: the classes of its data.
        device: of the weights.

    Raises:
        InputError: it differs from the recipe in what its weights depend on.
    """
    init = recipe.denoiser.init
    if not init:
        return None
    path = find(init)
    if not has_card(path):
        raise InputError(f"denoiser.init {init!r}: not a model of this program")
    _check_init(read_card(path), recipe, labels)
    return model_file.load(path, device)


def _check_init(card: Card, recipe: TrainingRecipe, labels: tuple[str, ...]) -> None:
    options, where = recipe.denoiser, f"denoiser.init {recipe.denoiser.init!r}"
    coder = recipe.autoencoder
    if coder is not None and not (card.autoencoder and coder.source and find(coder.source) == find(options.init)):
        raise InputError(f"autoencoder: {where} has its own, or works on pixels; leave this table out")
    text = options.text
    channels = card.space.args.get("channels", 3) if card.autoencoder is None else recipe.data.channels
    pairs = {
        "denoiser.net": (card.net, options.net),
        "denoiser.process": (card.process, options.process),
        "denoiser.kind": (card.kind, options.kind),
        "data.channels": (channels, recipe.data.channels),
        "denoiser.text": (
            card.text and {name: card.text.args.get(name) for name in TEXT},
            text and {name: getattr(text, name) for name in TEXT},
        ),
        "the classes": (card.labels, labels),
    }
    for name, (there, here) in pairs.items():
        if there != here:
            raise InputError(f"{where}: {name} is {_shown(there)} there, {_shown(here)} here; both must be the same")


def _shown(value: object) -> str:
    if isinstance(value, Part):
        return f"{value.class_} {value.args}"
    return "none" if value is None or value == () else quoted(value)
