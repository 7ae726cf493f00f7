"""Tiled denoising of data larger than the training size: average x0 over overlapping windows (MultiDiffusion).

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
    """Return a denoiser that runs another one on windows of the last axes. x that fits in one window is not tiled.

    Args:
        denoise: the denoiser to run.
        side: cells of a window, one number an axis.
        overlap: least number of cells that neighbouring windows share, from 0 to below the side.

    Raises InputError for an overlap out of range.
    """
    for cells, shared in zip(side, overlap, strict=True):
        if not 0 <= shared < cells:
            raise InputError(f"overlap {shared}: from 0 to below the side of a window, {cells}")

    def denoise_windows(x: Tensor, sigma: Tensor) -> Tensor:
        found = list(windows(x.shape[-len(side) :], side, overlap))
        if len(found) == 1:
            return denoise(x, sigma)
        total, weights = torch.zeros_like(x), torch.zeros_like(x[:1])
        for window in found:
            place: tuple[EllipsisType | slice, ...] = (Ellipsis, *window)
            part = x[place].contiguous()
            weight = _window_weight(part)
            total[place] += weight * denoise(part, sigma)
            weights[place] += weight
        return total / weights

    return denoise_windows


def windows(sizes: Sequence[int], side: Sequence[int], overlap: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Return the windows that cover the last axes: evenly spaced, the last ends at the border."""
    return product(*(_along(*axis) for axis in zip(sizes, side, overlap, strict=True)))


def _along(size: int, side: int, overlap: int) -> list[slice]:
    if size <= side:
        return [slice(0, size)]
    count = math.ceil((size - overlap) / (side - overlap))
    starts = [round(k * (size - side) / (count - 1)) for k in range(count)]
    return [slice(start, start + side) for start in starts]


def _window_weight(part: Tensor) -> Tensor:
    """Return the weight of each cell of a window, largest in the middle, above 0 at the border: (1, 1, *d)."""
    weight = part.new_ones([1] * part.ndim)
    for axis in range(2, part.ndim):
        count = part.shape[axis]
        ramp = torch.sin(math.pi * (torch.arange(count, dtype=part.dtype, device=part.device) + 0.5) / count).square()
        weight = weight * ramp.reshape([-1 if k == axis else 1 for k in range(part.ndim)])
    return weight
