"""The encoding of the images of a recipe, those of training and those held out: the one place where a run does it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from unnoise.data.buckets import Bucket
from unnoise.data.dataset import ImageDataset
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.spaces.space import Affine, Space
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.cache import Encoder, cache_folder, codes_each, encode_views, fingerprint_of
from unnoise.train.encoded import EncodedViews
from unnoise.train.latents import CaptionTokens, Latents, map_latents
from unnoise.train.processes import world
from unnoise.train.recipe import TrainingRecipe

Moments = tuple[list[float], list[float]]  # the mean and the standard deviation of each channel


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
        return make_encoder(self.autoencoder, self.recipe.data.channels, self.device)

    def encode(self, dataset: ImageDataset, views: int) -> EncodedViews:
        """Encode so many views of each image, or map what was encoded before."""
        data = replace(self.recipe.data, views=views)
        self.report.stage("views", len(dataset) * codes_each(data))
        cache = cache_folder(data, self.folder)
        with world().first():  # what one process encodes, the others map
            return encode_views(dataset, data, self.recipe.seed, self.encoder, cache, self.report.encoded)

    def space(self, encoded: Sequence[EncodedViews]) -> Pixels | Latent:
        """Make the space whose x0 has zero mean and unit variance over all encoded views."""
        with world().first():
            moments = pooled([(one.codes[:, 0, 0].numel(), *one.moments()) for one in encoded])
        if self.autoencoder is None:
            return Pixels(self.recipe.data.channels, *moments, self.recipe.denoiser.patch)
        return Latent(self.autoencoder, *moments)

    def bucket(self, part: Bucket, encoded: EncodedViews, space: Space) -> Latents:
        """Put the encoded views of a bucket together, see `latents`; the square has the folder "training"."""
        width, height = part.size
        square = width == height == self.recipe.data.size
        return self.latents(part.dataset, encoded, space, "training" if square else f"training-{width}x{height}")

    def latents(self, dataset: ImageDataset, encoded: EncodedViews, space: Space, name: str) -> Latents:
        """Put encoded views together with their captions or labels, in mapped files of the folder `name` of the run."""
        recipe, text = self.recipe, self.recipe.denoiser.text
        affine: Affine = space.affine  # type: ignore[attr-defined]
        patch = space.factor if isinstance(space, Pixels) else 1
        x0 = encoded.normalised(affine.shift, affine.scale, patch)
        tokens = None
        if self.tokenizer is not None and text is not None:
            tokens = CaptionTokens(self.tokenizer, text.length, text.captions, text.keywords)
        data = replace(recipe.data, views=encoded.views)
        with world().first():
            return map_latents(dataset, data, recipe.seed, x0, self.classes, tokens, self.folder / name)


def make_encoder(autoencoder: Any, channels: int, device: torch.device) -> Encoder:
    """Return what makes codes of pixels of so many channels: an autoencoder, or nothing where it is None."""
    if autoencoder is None:
        return Encoder(Pixels(channels).encode, f"pixels of {channels} channels", dtype="uint8")
    return Encoder(Latent(autoencoder).encode, fingerprint_of(autoencoder), device)


def pooled(parts: Sequence[tuple[float, list[float], list[float]]]) -> Moments:
    """Return the mean and the standard deviation of each channel over several parts.

    parts: of each its weight, and the means and standard deviations of its channels.
    """
    weights = torch.tensor([weight for weight, _, _ in parts], dtype=torch.float64)
    means, scales = (torch.tensor([part[k] for part in parts], dtype=torch.float64) for k in (1, 2))
    shares = (weights / weights.sum())[:, None]
    mean = (shares * means).sum(0)
    square = (shares * (scales.square() + (means - mean).square())).sum(0)
    return mean.tolist(), square.sqrt().tolist()
