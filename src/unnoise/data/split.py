"""Hold images out from training, to validate on: always the same ones, by a hash of their names."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from unnoise.data.dataset import ImageDataset

MOST_HELD_OUT: Final = 0.5  # of the concepts
AUTO_SHARE, AUTO_MOST, AUTO_LEAST = 0.05, 1000, 100  # held out by "auto": share, at most, and images to hold out at all


def split_validation(dataset: ImageDataset, share: float | Literal["auto"]) -> tuple[ImageDataset, ImageDataset | None]:
    """Split a data set into the images of training and those of validation; None where none are held out.

    Held out are the concepts whose names have the smallest hashes, so all images of a concept are on one side, and the
    choice does not depend on the seed, the folder or the order. At least one concept is held out of any share above 0,
    and one at least is trained on, of every class. Of a data set with styles, pairs of a name and a style are held out.

    Args:
        share: of the concepts, 0 to 0.5; "auto" is 5 %, at most 1,000, of data sets of at least 100 images.
    """
    if dataset.styles and share:
        return _split_styles(dataset, AUTO_SHARE if share == "auto" else share)
    concepts = sorted(set(dataset.concepts), key=_hash)
    if share == "auto":
        count = 0 if len(dataset) < AUTO_LEAST else min(AUTO_MOST, round(AUTO_SHARE * len(concepts)))
    else:
        count = max(1, round(share * len(concepts))) if share else 0
    held = _held_out(dataset, concepts, min(count, len(concepts) - 1))
    if not held:
        return dataset, None
    sides = ([i for i, concept in enumerate(dataset.concepts) if (concept in held) == out] for out in (False, True))
    training, validation = (dataset.subset(side) for side in sides)
    return replace(training, held_out=len(validation)), validation


def _split_styles(dataset: ImageDataset, share: float) -> tuple[ImageDataset, ImageDataset | None]:
    """Hold out pairs of a name and a style: every name stays in training, in another style."""
    names = [names[0] for names in dataset.captions]
    order = sorted(range(len(dataset)), key=lambda i: _hash(f"{names[i]} in {dataset.styles[i]} style"))
    left, held = Counter(names), set[int]()
    for i in order:
        if len(held) >= round(share * len(dataset)):
            break
        if left[names[i]] > 1:
            left[names[i]] -= 1
            held.add(i)
    if not held:
        return dataset, None
    training = dataset.subset([i for i in range(len(dataset)) if i not in held])
    return replace(training, held_out=len(held)), dataset.subset(sorted(held))


def _held_out(dataset: ImageDataset, concepts: Sequence[str], count: int) -> set[str]:
    """Choose the first concepts that leave an image of each class."""
    if not dataset.labels or not count:
        return set(concepts[:count])
    left, held = Counter(dataset.labels), set[str]()
    members = dict(zip(sorted(concepts), dataset.members, strict=True))
    for concept in concepts:
        own = Counter(dataset.labels[i] for i in members[concept])
        if all(left[label] > number for label, number in own.items()):
            left -= own
            held.add(concept)
        if len(held) == count:
            break
    return held


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
