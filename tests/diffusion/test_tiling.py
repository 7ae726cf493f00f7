"""Tiling: no seam, every cell covered, and one window is the denoiser itself."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from unnoise.diffusion.tiling import tiled, windows
from unnoise.errors import InputError


@pytest.mark.parametrize("shape", [(17,), (9, 22), (5, 11, 6)])
def test_a_pointwise_denoiser_does_not_depend_on_windows(shape: tuple[int, ...]) -> None:
    x, sigma = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, 3.0])

    def guess(x: Tensor, sigma: Tensor) -> Tensor:
        return x.sin() * sigma.reshape(-1, *[1] * (x.ndim - 1))

    side, overlap = (4,) * len(shape), (2,) * len(shape)
    assert (tiled(guess, side, overlap)(x, sigma) - guess(x, sigma)).abs().max() < 1e-6


def test_a_window_larger_than_all_is_the_denoiser() -> None:
    inputs: list[Tensor] = []

    def guess(x: Tensor, sigma: Tensor) -> Tensor:
        inputs.append(x)
        return x.exp()

    x, sigma = torch.randn(1, 2, 6, 8), torch.ones(1)
    assert torch.equal(tiled(guess, (6, 8), (2, 2))(x, sigma), x.exp())
    assert len(inputs) == 1
    assert inputs[0] is x


@pytest.mark.parametrize(("size", "count"), [(8, 1), (9, 2), (14, 2), (15, 3), (20, 3), (21, 4)])
def test_windows_cover_all_cells_with_the_least_overlap(size: int, count: int) -> None:
    found = [window for (window,) in windows((size,), (8,), (2,))]
    assert len(found) == count
    assert (found[0].start, found[-1].stop) == (0, size)
    for one, other in pairwise(found):
        assert other.start <= one.stop - 2
        assert one.stop - one.start == 8


def test_neighbours_are_joined_smoothly() -> None:
    """Windows that return their own numbers: the result changes gradually from one to the next."""
    count = iter(range(10))

    def numbered(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, next(count))

    line = tiled(numbered, (8,), (6,))(torch.zeros(1, 1, 14), torch.ones(1))[0, 0]
    steps = line.diff()
    assert bool((steps >= -1e-6).all())
    assert steps.max() < 0.75


def test_overlaps_out_of_range_are_refused() -> None:
    for overlap in (-1, 4, 5):
        with pytest.raises(InputError, match=f"overlap {overlap}: from 0 to below the side of a window, 4"):
            tiled(lambda x, sigma: x, (4,), (overlap,))
