"""The examples that an adapter is trained on: encoded views of images in buckets of one size, and prior images."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unnoise.components import Components
from unnoise.data.augment import Augment
from unnoise.data.buckets import Bucket, bucket_sizes, split_into_buckets, warn_of_enlarged
from unnoise.data.dataset import ImageDataset
from unnoise.data.outline import outlines
from unnoise.data.split import split_validation
from unnoise.errors import InputError, InputWarning
from unnoise.pipeline import Pipeline
from unnoise.train.adapter_recipe import AdapterRecipe, PriorOptions
from unnoise.train.cache import EncodeCallback, Encoder, cache_folder, codes_each, encode_views
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.ema_choice import check_ema_length
from unnoise.train.encoded import EncodedViews
from unnoise.train.latents import views_of
from unnoise.train.requirements import check_words
from unnoise.train.train_recipe import TrainingReport

OUTLINES = Encoder(lambda pixels: outlines(pixels) * 2 - 1, "outlines", dtype="uint8")


@dataclass(frozen=True, slots=True, eq=False)
class PriorImages:
    """Images for prior preservation, as x0 (N, *d), and their prompts."""

    x0: Tensor
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """The training data of an adapter, of images of one size.

    Args:
        x0: V views of each of N images.
        captions: of each view, grouped by image.
        control_images: (N, V, 1, H, W) uint8, for a ControlNet.
    """

    dataset: ImageDataset
    x0: EncodedViews
    captions: Sequence[str]
    prior: PriorImages | None = None
    control_images: Tensor | None = None


def open_buckets(recipe: AdapterRecipe, base: Components) -> tuple[ImageDataset, list[Bucket], list[Bucket]]:
    """Open the data of a recipe: the images of training, these in buckets of one size, and buckets held out."""
    side = recipe.data.size
    dataset, held_out = split_validation(recipe.data.open(), recipe.data.validation)
    check_words(recipe.data.augment, dataset)
    check_ema_length(recipe.checkpoints, held_out is not None)
    if not dataset.captioned and not recipe.trigger:
        warnings.warn(f"{dataset.name}: no captions and no trigger: prompts without text are trained", InputWarning, 2)
    warn_of_enlarged(dataset, side)
    sizes = bucket_sizes(side, base.factor) if recipe.buckets else [(side, side)]
    held = [] if held_out is None else split_into_buckets(held_out, sizes)
    return dataset, split_into_buckets(dataset, sizes), held


def bytes_of_latents(recipe: AdapterRecipe, base: Components, dataset: ImageDataset) -> int:
    """Return the bytes of the latents of every view, in float16."""
    side = recipe.data.size
    return 2 * prod(base.space.shape(side, side)) * len(dataset) * codes_each(recipe.data)


def encode_held_out(
    recipe: AdapterRecipe, buckets: Sequence[Bucket], base: Pipeline, folder: Path, report: TrainingReport
) -> list[Examples]:
    """Encode a view of every held-out image, or read the latents that are cached."""
    one = replace(recipe, data=replace(recipe.data, views=1))
    return encode_examples(one, buckets, base, folder, report) if buckets else []


def encode_examples(
    recipe: AdapterRecipe,
    buckets: Sequence[Bucket],
    base: Pipeline,
    folder: Path,
    report: TrainingReport,
) -> list[Examples]:
    """Encode every view of every image, or read the latents that are cached."""
    total = sum(len(bucket.dataset) for bucket in buckets) * codes_each(recipe.data)
    report.stage("views", total)
    found, done = [], 0
    for bucket in buckets:

        def encoded(part: int, _: int, before: int = done) -> None:
            report.encoded(before + part, total)

        found.append(_examples(recipe, bucket.dataset, base, folder, encoded))
        done += len(bucket.dataset) * codes_each(recipe.data)
    return found


def _examples(
    recipe: AdapterRecipe, dataset: ImageDataset, base: Pipeline, folder: Path, callback: EncodeCallback
) -> Examples:
    data, cache = recipe.data, cache_folder(recipe.data, folder)
    x0 = encode_views(dataset, data, recipe.seed, encoder_of(base), cache, callback)
    every = views_of(dataset, data, recipe.seed, range(len(dataset)), x0.states)
    captions = [with_trigger(recipe.trigger, view.caption) for view in every]
    examples = Examples(dataset, x0, captions)
    if recipe.control is None:
        return examples
    found = encode_views(dataset, data, recipe.seed, OUTLINES, cache, lambda *_: None)
    return replace(examples, control_images=found.codes.expand(len(dataset), data.views, -1, -1, -1))


def with_trigger(trigger: str, caption: str) -> str:
    """Put the trigger in front of a caption."""
    return f"{trigger} {caption}".strip() if trigger else caption


def encoder_of(base: Pipeline) -> Encoder:
    """Return the encoder of a base."""
    return Encoder(base.space.encode, f"{base.card.fingerprint} {base.dtype}", base.device)


def with_prior(
    recipe: AdapterRecipe,
    prior: PriorOptions,
    buckets: Sequence[Bucket],
    examples: Sequence[Examples],
    base: Pipeline,
    folder: Path,
) -> list[Examples]:
    """Add images for prior preservation, those of a folder or generated by the base, each of the size of a bucket."""
    images = _own_prior if prior.source else _generated_prior
    found = [
        replace(one, prior=part)
        for one, part in zip(examples, images(recipe, prior, buckets, base, folder), strict=True)
    ]
    without = [
        f"{bucket.size[0]}x{bucket.size[1]}" for bucket, one in zip(buckets, found, strict=True) if one.prior is None
    ]
    if without:
        warnings.warn(
            f"prior: no image for {len(without)} of {len(buckets)} buckets, whose batches are without: "
            f"{', '.join(without[:3])}",
            InputWarning,
            stacklevel=2,
        )
    return found


def _own_prior(
    recipe: AdapterRecipe, prior: PriorOptions, buckets: Sequence[Bucket], base: Pipeline, folder: Path
) -> list[PriorImages | None]:
    """Encode the images of a folder, with their captions as prompts."""
    dataset = replace(recipe.data, source=prior.source, captions="auto").open()
    if not dataset.captioned:
        raise InputError(f"prior.source {prior.source!r}: its images have no captions; add a .txt beside each")
    parts = {part.size: part.dataset for part in split_into_buckets(dataset, [bucket.size for bucket in buckets])}
    found: list[PriorImages | None] = []
    for bucket in buckets:
        part = parts.get(bucket.size)
        if part is None:
            found.append(None)
            continue
        data = replace(recipe.data, views=1, augment=Augment())
        encoded = encode_views(part, data, recipe.seed, encoder_of(base), cache_folder(data, folder), lambda *_: None)
        found.append(PriorImages(encoded.codes[:, 0], tuple(names[0] for names in part.captions)))
    return found


def _generated_prior(
    recipe: AdapterRecipe, prior: PriorOptions, buckets: Sequence[Bucket], base: Pipeline, folder: Path
) -> list[PriorImages | None]:
    """Generate images with the base, the prompts in turn, then the buckets in turn."""
    count, prompts = prior.generated, prior.prompts
    found: list[PriorImages | None] = []
    for b, bucket in enumerate(buckets):
        own = [k for k in range(count) if k // len(prompts) % len(buckets) == b]
        texts = tuple(prompts[k % len(prompts)] for k in own)
        path = folder / _file("prior", bucket, buckets)
        facts = f"{texts}\n{own}\n{bucket.size}\n{recipe.seed}\n{base.card.fingerprint}\n{base.dtype}"
        key = hashlib.sha256(facts.encode()).hexdigest()
        if own and not (path.exists() and read_facts(path).get("key") == key):
            draw = partial(base.generate, size=bucket.size, prompt_weighting="literal", progress=False)
            samples = [draw(text, seed=recipe.seed + k)[0] for k, text in zip(own, texts, strict=True)]
            write_tensors(path, {"x0": torch.stack([sample.x0 for sample in samples]).half().cpu()}, {"key": key})
        found.append(PriorImages(load_file(path)["x0"], texts) if own else None)
    return found


def _file(name: str, bucket: Bucket, buckets: Sequence[Bucket]) -> str:
    size = "" if len(buckets) == 1 else f"-{bucket.size[0]}x{bucket.size[1]}"
    return f"{name}{size}.safetensors"
