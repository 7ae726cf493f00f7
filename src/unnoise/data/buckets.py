"""Aspect buckets: images of about one shape are scaled to one size of about the same area, instead of to a square.

Source: NovelAI 2022, "Novelai improvements on Stable Diffusion", aspect ratio bucketing.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import log, prod

import numpy as np

from unnoise.data.dataset import ImageDataset, PixelArray, Size
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputWarning

BUCKET = 8  # first coordinate of the random streams of this file
ASPECT = 3.0  # longer side over shorter, at most
GRID = 16  # steps of a bucket's side, in which the side of the square is divided
BLOCK = 1024  # batches whose buckets are drawn together
CROPPED = 0.02  # of an image's area: less is not worth a line
ENLARGED = 0.9  # of the side of the square: images of more pixels are not worth a line


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """The images of one size, as a data set of their own. size: width and height in pixels."""

    size: Size
    dataset: ImageDataset


def bucket_sizes(side: int, multiple: int) -> list[Size]:
    """List sizes of about side x side pixels, whose sides are multiples of `multiple`, the square first.

    Steps of a side are at least 1/16 of the square's, so that buckets are few.
    """
    step = multiple * max(1, -(-side // (GRID * multiple)))
    found = {(side, side): None}
    for width in range(step, int(side * ASPECT**0.5) + 1, step):
        height = max(step, round(side * side / width / step) * step)
        if max(width, height) <= ASPECT * min(width, height):
            found[width, height] = found[height, width] = None
    return [*found]


def cropped(image: Size, target: Size) -> float:
    """Return the share of an image's area that is cut off when it is scaled to cover a target."""
    scale = max(target[0] / image[0], target[1] / image[1])
    return 1 - (target[0] * target[1]) / (image[0] * image[1] * scale**2)


def split_into_buckets(dataset: ImageDataset, sizes: Sequence[Size]) -> list[Bucket]:
    """Split a data set by the shape of its images; each goes to the size that cuts off least.

    A data set whose images all have the size of the square is one bucket. Warns (InputWarning) where more than a few
    pixels of an image are cut off.
    """
    read_at = dataset.read_at
    if read_at is None:
        height, width = dataset.read(0).shape[:2]
        return [Bucket((width, height), dataset)]
    chosen = [min(sizes, key=lambda size: abs(log(size[0] * image[1] / size[1] / image[0]))) for image in dataset.sizes]
    _warn_of_cropping(dataset, chosen, 2 / GRID if len(sizes) > 1 else CROPPED)
    members = {size: [i for i, one in enumerate(chosen) if one == size] for size in sizes}
    return [Bucket(size, _at_size(dataset.subset(found), size)) for size, found in members.items() if found]


def _at_size(part: ImageDataset, size: Size) -> ImageDataset:
    if part.read_at is None:
        return part
    return replace(part, read=partial(_read, part.read_at, size), read_at=None, target=size)


def warn_of_square(dataset: ImageDataset) -> None:
    """Say in one line how many images lose more than a few pixels where all are cropped to a square."""
    _warn_of_cropping(dataset, [(1, 1)] * len(dataset.sizes), CROPPED)


def warn_of_enlarged(dataset: ImageDataset, size: int) -> None:
    """Say in one line how many images have fewer pixels than they are used at. size: side of the square."""
    small = [one for one in dataset.sizes if prod(one) < (ENLARGED * size) ** 2]
    if small:
        width, height = min(small, key=prod)
        warnings.warn(
            f"{dataset.name}: {len(small)} of {len(dataset)} images are smaller than data.size {size} and are "
            f"enlarged, the smallest from {width}x{height}",
            InputWarning,
            stacklevel=2,
        )


def _warn_of_cropping(dataset: ImageDataset, targets: Sequence[Size], least: float) -> None:
    lost = [cropped(image, target) for image, target in zip(dataset.sizes, targets, strict=True)]
    many = [share for share in lost if share > least]
    if many:
        warnings.warn(
            f"{dataset.name}: {len(many)} of {len(dataset)} images are cropped around their centre, and lose up to "
            f"{max(many):.0%} of their area",
            InputWarning,
            stacklevel=3,
        )


def _read(read_at: Callable[[int, Size], PixelArray], size: Size, i: int) -> PixelArray:
    return read_at(i, size)


def nth_batch(counts: tuple[int, ...], seed: int, step: int) -> tuple[int, int]:
    """Choose the bucket of a batch, with a probability that is its share of the images.

    Args:
        counts: of images, by bucket.
        seed: of the run.
        step: number of the batch.

    Returns:
        The bucket, and how many batches before this one were of it. Both depend on the arguments alone.
    """
    if len(counts) == 1:
        return 0, step
    block, row = divmod(step, BLOCK)
    own = _block(counts, seed, block)
    bucket = int(own[row])
    return bucket, _earlier(counts, seed, block)[bucket] + int((own[:row] == bucket).sum())


@lru_cache(maxsize=4)
def _block(counts: tuple[int, ...], seed: int, block: int) -> np.ndarray:
    shares = np.cumsum(counts) / sum(counts)
    return np.searchsorted(shares[:-1], numbers(seed, BUCKET, block).random(BLOCK), side="right")


@lru_cache(maxsize=4)
def _earlier(counts: tuple[int, ...], seed: int, block: int) -> tuple[int, ...]:
    """Count the batches of each bucket in all blocks before one."""
    total = np.zeros(len(counts), np.int64)
    for k in range(block):
        total += np.bincount(_block(counts, seed, k), minlength=len(counts))
    return tuple(int(count) for count in total)
