"""Data larger than a model was trained for: it is asked on windows that overlap, and the answers are joined.

    x0[place] = sum over windows of weight(place in window)·x0_window[place] / sum of weights

Source: Bar-Tal et al. 2023, "MultiDiffusion: fusing diffusion paths for controlled image generation", arXiv 2302.08113,
eq. 5.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoise
from unnoise.errors import InputError


def tiled(denoise: Denoise, side: Sequence[int], overlap: Sequence[int]) -> Denoise:
    """Ask a denoiser on windows of the last axes. side: cells of a window; overlap: cells that neighbours share, at
    least. x no larger than a window is asked as it is. Raises InputError for an overlap below 0 or not below the side.
    """
    for cells, shared in zip(side, overlap, strict=True):
        if not 0 <= shared < cells:
            raise InputError(f"overlap {shared}: from 0 to below the side of a window, {cells}")

    def asked(x: Tensor, sigma: Tensor) -> Tensor:
        windows = list(places(x.shape[-len(side) :], side, overlap))
        if len(windows) == 1:
            return denoise(x, sigma)
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:1])
        for window in windows:
            place: tuple[EllipsisType | slice, ...] = (Ellipsis, *window)
            part = x[place].contiguous()
            weight = _hill(part)
            total[place] += weight * denoise(part, sigma)
            weights[place] += weight
        return total / weights

    return asked


def places(sizes: Sequence[int], side: Sequence[int], overlap: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """List the windows that cover the last axes: evenly spread, the last ends at the border."""
    return product(*(_along(*axis) for axis in zip(sizes, side, overlap, strict=True)))


def _along(size: int, side: int, overlap: int) -> list[slice]:
    if size <= side:
        return [slice(0, size)]
    count = math.ceil((size - overlap) / (side - overlap))
    starts = [round(k * (size - side) / (count - 1)) for k in range(count)]
    return [slice(start, start + side) for start in starts]


def _hill(part: Tensor) -> Tensor:
    """Weigh the middle of a window most and its border least, but more than nothing: (1, 1, *d)."""
    weight = part.new_ones([1] * part.ndim)
    for axis in range(2, part.ndim):
        count = part.shape[axis]
        ramp = torch.sin(math.pi * (torch.arange(count, dtype=part.dtype, device=part.device) + 0.5) / count).square()
        weight = weight * ramp.reshape([-1 if k == axis else 1 for k in range(part.ndim)])
    return weight
