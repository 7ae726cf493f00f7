"""Which picture is the n-th of a run: a function of the seed and n alone, so that a run resumes where it stopped."""

from functools import lru_cache
from typing import Any

import numpy as np

from unnoise.data.dataset import ImageDataset
from unnoise.diffusion.noise import numbers

ORDER, VARIANT, SAMPLE = 1, 2, 4  # the first coordinate of streams; 3 is view.VIEW, SAMPLE is what training draws


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return numbers(seed, ORDER, epoch).permutation(count)


def picture(source: ImageDataset, seed: int, n: int) -> int:
    """Name the n-th picture to see: every concept once an epoch, in a new order, each time as one of its variants."""
    members = source.members
    epoch, place = divmod(n, len(members))
    concept = members[int(_epoch(seed, epoch, len(members))[place])]
    if len(concept) == 1:
        return concept[0]
    return concept[int(numbers(seed, VARIANT, n).integers(len(concept)))]
