"""The order of the images of a run: the n-th is a function of the seed and n alone, so that a run can resume."""

from functools import lru_cache
from typing import Any

import numpy as np

from unnoise.data.dataset import ImageDataset
from unnoise.diffusion.noise import numbers

# First coordinates of random streams; the last three are of training.
ORDER, VARIANT, SAMPLE, DROPOUT, NOISE = 1, 2, 4, 7, 8


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return numbers(seed, ORDER, epoch).permutation(count)


def nth_row(seed: int, n: int, count: int) -> int:
    """Return the index of the n-th row that is trained on: each of `count` once an epoch, in a new order."""
    epoch, place = divmod(n, count)
    return int(_epoch(seed, epoch, count)[place])


def nth_image(dataset: ImageDataset, seed: int, n: int) -> int:
    """Return the index of the n-th image: each concept once an epoch, in a new order, as one of its variants."""
    members = dataset.members
    epoch, place = divmod(n, len(members))
    concept = members[int(_epoch(seed, epoch, len(members))[place])]
    if len(concept) == 1:
        return concept[0]
    return concept[int(numbers(seed, VARIANT, n).integers(len(concept)))]
