"""The order of the images of a run: the n-th is a function of the seed and n alone, so that a run can resume."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from unnoise.diffusion.noise import numbers

# First coordinates of random streams; the last three are of training.
ORDER, VARIANT, SAMPLE, DROPOUT, NOISE = 1, 2, 4, 7, 8


class Ordered(Protocol):
    """Images by concept: a data set, or the latents of one."""

    @property
    def members(self) -> "Sequence[Sequence[int]] | Members":
        """The images of each concept."""


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The images of each concept as two arrays, which may be mapped from files.

    Args:
        images: (N,) of all concepts, one concept after the other.
        starts: (C + 1,) where each concept begins in them, and their number.
    """

    images: np.ndarray[Any, np.dtype[np.int64]]
    starts: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, concept: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.images[self.starts[concept] : self.starts[concept + 1]]


def members_of(concepts: Sequence[str], kept: Sequence[int] | np.ndarray[Any, Any]) -> Members:
    """List the images of each concept, concepts in alphabetical order. kept: the images that are used."""
    found: dict[str, list[int]] = {}
    for i in kept:
        found.setdefault(concepts[i], []).append(int(i))
    groups = [found[concept] for concept in sorted(found)]
    starts = np.cumsum([0, *map(len, groups)])
    return Members(np.array([i for group in groups for i in group], np.int64), starts.astype(np.int64))


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return numbers(seed, ORDER, epoch).permutation(count)


def nth_row(seed: int, n: int, count: int) -> int:
    """Return the index of the n-th row that is trained on: each of `count` once an epoch, in a new order."""
    epoch, place = divmod(n, count)
    return int(_epoch(seed, epoch, count)[place])


def nth_image(ordered: Ordered, seed: int, n: int) -> int:
    """Return the index of the n-th image: each concept once an epoch, in a new order, as one of its variants."""
    members = ordered.members
    epoch, place = divmod(n, len(members))
    concept = members[int(_epoch(seed, epoch, len(members))[place])]
    if len(concept) == 1:
        return int(concept[0])
    return int(concept[int(numbers(seed, VARIANT, n).integers(len(concept)))])
