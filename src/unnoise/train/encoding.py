"""The encoding of the images of a recipe, those of training and those held out: the one place where a run does it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from unnoise.data.dataset import ImageDataset
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.spaces.space import Affine, Space
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.cache import Encoder, cache_folder, codes_each, encode_views, fingerprint_of
from unnoise.train.encoded import EncodedViews
from unnoise.train.latents import Latents, map_latents
from unnoise.train.processes import world
from unnoise.train.recipe import TrainingRecipe


class EncodingReport(Protocol):
    """Receives the progress of an encoding."""

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""

    def encoded(self, done: int, total: int) -> None:
        """`done` of `total` views are encoded."""


@dataclass(frozen=True)
class Encoding:
    """How the images of a recipe are encoded.

    Args:
        recipe: of the run.
        autoencoder: None for pixels.
        tokenizer: None without captions.
        classes: of all images.
        folder: of the run.
        device: of the autoencoder.
        report: receives the progress.
    """

    recipe: TrainingRecipe
    autoencoder: Any
    tokenizer: Tokenizer | None
    classes: tuple[str, ...]
    folder: Path
    device: torch.device
    report: EncodingReport

    @cached_property
    def encoder(self) -> Encoder:
        """What makes codes of pixels: the autoencoder, or nothing."""
        channels = self.recipe.data.channels
        if self.autoencoder is None:
            return Encoder(Pixels(channels).encode, f"pixels of {channels} channels", dtype="uint8")
        return Encoder(Latent(self.autoencoder).encode, fingerprint_of(self.autoencoder), self.device)

    def encode(self, dataset: ImageDataset, views: int) -> EncodedViews:
        """Encode so many views of each image, or map what was encoded before."""
        data = replace(self.recipe.data, views=views)
        self.report.stage("views", len(dataset) * codes_each(data))
        cache = cache_folder(data, self.folder)
        with world().first():  # what one process encodes, the others map
            return encode_views(dataset, data, self.recipe.seed, self.encoder, cache, self.report.encoded)

    def space(self, encoded: EncodedViews) -> Pixels | Latent:
        """Make the space whose x0 has zero mean and unit variance over the encoded views."""
        with world().first():
            moments = encoded.moments()
        if self.autoencoder is None:
            return Pixels(self.recipe.data.channels, *moments)
        return Latent(self.autoencoder, *moments)

    def latents(self, dataset: ImageDataset, encoded: EncodedViews, space: Space, name: str) -> Latents:
        """Put encoded views together with their captions or labels, in mapped files of the folder `name` of the run."""
        recipe, text = self.recipe, self.recipe.denoiser.text
        affine: Affine = space.affine  # type: ignore[attr-defined]
        x0 = encoded.normalised(affine.shift, affine.scale)
        tokens = None if self.tokenizer is None or text is None else (self.tokenizer, text.length)
        data = replace(recipe.data, views=encoded.views)
        with world().first():
            return map_latents(dataset, data, recipe.seed, x0, self.classes, tokens, self.folder / name)
