"""Random numbers: counter-based, so each depends on its seed and coordinates only.

A stream is Philox4x64-10 with key (seed, number of coordinates) and counter (0, coordinates...). Drawing advances the
low word of the counter, so two streams of one key overlap only after 2^64 blocks of four.
Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from torch import Tensor

from unnoise.errors import InputError

Draw = Callable[[tuple[int, ...], int, Tensor], Tensor]
START: Final = -1  # the step of the starting noise


class _Key(ISeedSequence):
    """The key of Philox as a seed sequence. With `key=` numpy would first read entropy of the system (20 us, not 7)."""

    def __init__(self, *words: int) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray[Any, Any]:
        return np.array(self.words, dtype=dtype)[:n_words]


def numbers(seed: int, *counter: int) -> np.random.Generator:
    """Return the stream of a seed at up to three coordinates.

    Streams of one coordinate are reserved for `draw`. Training and data use two or three; the first is the purpose.

    Args:
        seed: in [0, 2^64).
        counter: coordinates in [-2^63, 2^63).

    Raises InputError for a seed or a coordinate out of range.
    """
    if not 0 <= seed < 1 << 64:
        raise InputError(f"seed {seed}: 0 to {(1 << 64) - 1}")
    if len(counter) > 3 or not all(-(1 << 63) <= word < 1 << 63 for word in counter):
        raise InputError(f"counter {counter}: at most 3 coordinates, each of 64 bits")
    words = [word & 0xFFFF_FFFF_FFFF_FFFF for word in counter]
    place = np.array([0, *words, 0, 0, 0][:4], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(cast(Any, _Key(seed, len(counter))), counter=place))


def draw(seeds: Sequence[int], step: int, like: Tensor) -> Tensor:
    """Draw standard normal noise in float32 on the CPU, one stream for each row.

    Args:
        seeds: one for each row.
        step: START for the starting noise, then the queries 0, 1, ...
        like: (B, *d); the result has its shape, dtype and device.

    Raises InputError unless there is one seed for each row.
    """
    if len(seeds) != len(like):
        raise InputError(f"{len(seeds)} seeds: one for each of the {len(like)} rows")
    noise = np.empty(like.shape, dtype=np.float32)
    for row, seed in enumerate(seeds):
        numbers(seed, step).standard_normal(dtype=np.float32, out=noise[row : row + 1])
    return torch.from_numpy(noise).to(like)
