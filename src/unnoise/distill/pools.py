"""What a distillation is trained on: encoded images with their captions or classes, or prompts alone."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from unnoise.card import Card
from unnoise.components import Components
from unnoise.data.buckets import Bucket, bucket_sizes, split_into_buckets, warn_of_enlarged, warn_of_square
from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import members_of
from unnoise.data.split import split_validation
from unnoise.distill.method_options import PROMPT_FILE
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import Pool, prompt_pool
from unnoise.distill.teacher import Teacher
from unnoise.errors import InputError, InputWarning
from unnoise.formats.open_file import read_text
from unnoise.text.encode import PromptEncoder
from unnoise.train.cache import cache_folder, codes_each, encode_views
from unnoise.train.encoded import TRANSPARENT
from unnoise.train.encoding import make_encoder
from unnoise.train.latents import views_of
from unnoise.train.processes import world
from unnoise.train.recipe import DataOptions
from unnoise.train.train_recipe import TrainingReport


def open_images(recipe: DistillRecipe, teacher: Teacher) -> ImageDataset | None:
    """Open the images of a recipe, without those that are held out; None where it has no images.

    Raises InputError unless what they have beside their pixels is what the teacher takes.
    """
    data = recipe.data
    if data is None:
        return None
    pipeline = teacher.pipeline
    if data.size % pipeline.factor:
        raise InputError(f"data.size {data.size}: a multiple of {pipeline.factor}, for {pipeline.card.name!r}")
    if not recipe.options.images:
        _check_size(data, pipeline.card)
    if data.source.endswith(PROMPT_FILE):
        return None
    own = getattr(pipeline.space, "channels", data.channels)
    if own != data.channels:
        raise InputError(f"data.channels {data.channels}: {pipeline.card.name!r} has {own}; both must be the same")
    dataset, _ = split_validation(data.open() if recipe.options.images else data.open_unchecked(), data.validation)
    _check_conditioning(dataset, pipeline)
    return dataset


def _check_size(data: DataOptions, card: Card) -> None:
    """Raise InputError for a size that a teacher does not draw, where no image of that size is trained on."""
    sides = [width for width, height in card.advice.sizes if width == height]
    if sides and data.size not in sides:
        drawn = ", ".join(f"{side}x{side}" for side in sides)
        raise InputError(
            f"data.size {data.size}: {card.name!r} draws {drawn}, and no images of another size are trained on; set "
            f"data.size = {sides[0]}"
        )


def _check_conditioning(dataset: ImageDataset, teacher: Components) -> None:
    """Raise InputError unless images have the classes or captions that a teacher takes."""
    card = teacher.card
    if dataset.labels and not card.labels:
        takes = "prompts and no classes" if card.prompted else "no classes"
        raise InputError(f"data.labels: {card.name!r} takes {takes}; leave it out")
    if card.labels and not dataset.labels:
        raise InputError(f"data.labels: {card.name!r} takes classes, and none are read; set labels")
    unknown = sorted(set(dataset.classes) - set(card.labels))
    if unknown:
        raise InputError(f"data.labels {unknown[0]!r}: no class of {card.name!r}, which has {', '.join(card.labels)}")
    if dataset.captioned and not dataset.labels and teacher.text_encoder is None:
        raise InputError(f'data.captions: {card.name!r} takes no prompts; set captions = "none"')
    if teacher.text_encoder is not None and not card.labels and not dataset.captioned:
        raise InputError(f"data: {dataset.name!r} has no captions, and {card.name!r} takes prompts; add some")


def open_pools(
    recipe: DistillRecipe, teacher: Teacher, dataset: ImageDataset | None, folder: Path, report: TrainingReport
) -> list[Pool]:
    """Return what rows are drawn from; images are encoded, or read from the cache.

    Args:
        dataset: of `open_images`.
        folder: of the run.
        report: receives the progress of the encoding.
    """
    data = recipe.data
    if dataset is None or data is None:
        return [prompt_pool(_prompts(recipe, teacher), x0_shape(teacher, data))]
    if not recipe.options.images:
        states = torch.full((len(dataset),), TRANSPARENT, dtype=torch.uint8)
        prompts = _prompts_of(dataset, data, recipe.seed, states)
        _warn_of_long(teacher, prompts)
        members = members_of(dataset.concepts, range(len(dataset)))
        return [Pool(x0_shape(teacher, data), prompts, members, data.views)]
    warn_of_enlarged(dataset, data.size)
    if data.buckets:
        buckets = split_into_buckets(dataset, bucket_sizes(data.size, teacher.pipeline.factor))
    else:
        warn_of_square(dataset)
        buckets = [Bucket((data.size, data.size), dataset)]
    report.stage("views", len(dataset) * codes_each(data))
    return [_encoded(recipe, teacher, bucket, folder, report) for bucket in buckets]


def _encoded(recipe: DistillRecipe, teacher: Teacher, bucket: Bucket, folder: Path, report: TrainingReport) -> Pool:
    """Encode the images of a bucket by the teacher's autoencoder."""
    data, space, dataset = recipe.data, teacher.pipeline.space, bucket.dataset
    assert data is not None
    encoder = make_encoder(getattr(space, "autoencoder", None), data.channels, teacher.device)
    with world().first():  # what one process encodes, the others map
        encoded = encode_views(dataset, data, recipe.seed, encoder, cache_folder(data, folder), report.encoded)
    affine = space.affine  # type: ignore[attr-defined]
    patch = space.factor if getattr(space, "autoencoder", None) is None else 1
    x0 = encoded.normalised(affine.shift, affine.scale, patch)
    prompts = _prompts_of(dataset, data, recipe.seed, encoded.states)
    _warn_of_long(teacher, prompts)
    return Pool(tuple(x0.shape[2:]), prompts, members_of(dataset.concepts, encoded.readable), data.views, x0)


def _prompts_of(dataset: ImageDataset, data: DataOptions, seed: int, states: torch.Tensor) -> list[str]:
    """List the class or the caption of every view, grouped by image."""
    if dataset.labels:
        return [label for label in dataset.labels for _ in range(data.views)]
    return [view.caption for view in views_of(dataset, data, seed, range(len(dataset)), states)]


def _prompts(recipe: DistillRecipe, teacher: Teacher) -> list[str]:
    """List the lines of a file of prompts, or the classes of the teacher, or no prompt. Raises InputError for text."""
    card = teacher.pipeline.card
    if recipe.data is not None:
        prompts = prompt_lines(recipe.data)
        if teacher.pipeline.text_encoder is None:
            raise InputError(f"data.source {recipe.data.source!r}: {card.name!r} takes no prompts; leave it out")
        if card.labels:
            teacher.encode(prompts)
        _warn_of_long(teacher, prompts)
        return prompts
    if teacher.pipeline.text_encoder is not None and not card.labels:
        raise InputError(f"data: {card.name!r} takes prompts, and none are given; add a [data] table with captions")
    return [*card.labels] or [""]


def prompt_lines(data: DataOptions) -> list[str]:
    """Return the lines of a file of prompts. Raises InputError where there are none."""
    lines = [line.strip() for line in read_text(Path(data.source)).splitlines()]
    if not any(lines):
        raise InputError(f"data.source {data.source!r}: holds no prompts; write one on each line")
    return [line for line in lines if line]


def _warn_of_long(teacher: Teacher, prompts: Sequence[str]) -> None:
    """Say in one line how many captions have more tokens than the teacher takes."""
    encoder = teacher.pipeline.text_encoder
    if not isinstance(encoder, PromptEncoder):
        return
    longer = sum(len(encoder.tokenizer.encode(prompt)) > encoder.length for prompt in prompts)
    if longer:
        warnings.warn(
            f"{longer} of {len(prompts)} captions have more than {encoder.length} tokens, which "
            f"{teacher.pipeline.card.name!r} takes, and are cut",
            InputWarning,
            stacklevel=3,
        )


def x0_shape(teacher: Teacher, data: DataOptions | None) -> tuple[int, ...]:
    """Return the shape of an x0 of the size that is trained."""
    width, height = teacher.trained_size(data)
    return teacher.pipeline.space.shape(height, width)
