"""Inpainting: kept elements come back bit for bit, soft masks blend, wrong masks are refused."""

from itertools import pairwise
from math import inf

import pytest
import torch
from diffusion.mixture import mixture
from hypothesis import given, settings, strategies as st
from torch import Tensor

from unnoise.diffusion.inpainting import feathered, fill, inpaint, inpaint_by_level, region, to_cells
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.process import Flow, share
from unnoise.errors import InputError
from unnoise.sampling.registry import SAMPLERS, sampler
from unnoise.sampling.samplers.restart import RePaint, Restart, repaints, restarts
from unnoise.sampling.state import Sampler, start


def guess(x: Tensor, sigma: Tensor) -> Tensor:
    return x.sin() + sigma.view(-1, *(1,) * (x.ndim - 1))


@pytest.mark.parametrize("shape", [(6,), (3, 7), (3, 4, 5), (2, 3, 4, 5)])
def test_hard_masks_are_exact(shape: tuple[int, ...]) -> None:
    made = torch.Generator().manual_seed(0)
    known, x = (torch.randn(2, *shape, generator=made) * 100 for _ in range(2))
    known[0, 0] = -0.0
    mask, sigma = (torch.rand(2, *shape, generator=made) > 0.5).float(), torch.tensor([0.5, 1e6])
    x0 = inpaint(guess, known, mask)(x, sigma)
    wanted = torch.where(mask == 0, known, guess(x, sigma))
    assert torch.equal(x0, wanted)
    assert torch.equal(torch.signbit(x0), torch.signbit(wanted))


def test_soft_masks_blend_and_broadcast() -> None:
    made = torch.Generator().manual_seed(0)
    known, x = (torch.randn(2, 3, 4, 5, generator=made) for _ in range(2))
    mask, sigma = torch.rand(2, 1, 4, 5, generator=made), torch.ones(2)
    blend = guess(x, sigma) * mask + known * (1 - mask)
    torch.testing.assert_close(inpaint(guess, known, mask)(x, sigma), blend)
    boolean = inpaint(guess, known, mask > 0.5)(x, sigma)
    assert torch.equal(boolean, torch.where(mask > 0.5, guess(x, sigma), known))


def test_a_cell_takes_the_largest_value_of_its_pixels() -> None:
    mask = torch.zeros(1, 1, 32, 40)
    mask[..., 17] = 1
    mask[..., 3, 33] = 0.75
    found = to_cells(mask, 8)
    wanted = torch.zeros(1, 1, 4, 5)
    wanted[..., 2] = 1
    wanted[..., 0, 4] = 0.75
    assert torch.equal(found, wanted)


def test_wrong_masks_are_refused() -> None:
    known = torch.zeros(2, 3, 4)
    for says, mask in (
        ("1 is painted, 0 is kept", torch.full((2, 3, 4), 1.5)),
        ("1 is painted, 0 is kept", torch.full((2, 3, 4), torch.nan)),
        (r"mask \(2, 3, 5\)", torch.zeros(2, 3, 5)),
        (r"mask \(5, 2, 3, 4\)", torch.zeros(5, 2, 3, 4)),
    ):
        with pytest.raises(InputError, match=says):
            inpaint(guess, known, mask)
    with pytest.raises(InputError, match="known: contains NaN"):
        inpaint(guess, known / 0, torch.zeros(2, 3, 4))


SHAPE = (2, 6)
GRID = (80.0, 20.0, 6.0, 2.0, 0.7, 0.2, 0.05, 0.0)


def landed(method: Sampler[Tensor, Tensor], grid: tuple[float, ...] = GRID) -> tuple[Tensor, Tensor, Tensor]:
    """Run a mixture whose first coordinates are known: where it ends, what was known, and where."""
    exact = mixture(SHAPE)
    known = torch.full((3, *SHAPE), 0.371, dtype=torch.float64) * torch.arange(1, 4)[:, None, None]
    mask = torch.ones(1, *SHAPE, dtype=torch.float64)
    mask[..., :2] = 0
    noise = draw((1, 2, 3), START, known)
    x = run(method, inpaint(exact.denoise, known, mask), start(noise, grid), draw, (1, 2, 3))
    return x, known.expand_as(x), (mask == 0).expand_as(x)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_known_coordinate_is_landed_on(name: str) -> None:
    """Whatever a sampler makes of its predictions, one that never changes is where it ends: to 1e-12, in float64."""
    x, known, kept = landed(sampler(name))
    assert (x - known)[kept].abs().max() <= 1e-12
    assert (x - known)[~kept].abs().max() > 1e-2, "what is painted is not what is kept"


@pytest.mark.parametrize(
    ("method", "grid"), [(RePaint(), repaints(GRID, 2, 3)), (Restart(), restarts(GRID, 0.2, 2.0, 2))]
)
def test_a_known_coordinate_is_landed_on_over_grids_that_rise(
    method: Sampler[Tensor, Tensor], grid: tuple[float, ...]
) -> None:
    x, known, kept = landed(method, grid)
    assert (x - known)[kept].abs().max() <= 1e-12


def test_what_is_painted_agrees_with_what_is_kept() -> None:
    """Two coordinates that always agree: where one is known, the other is painted to be as it is."""
    exact = mixture((2,))
    twins = type(exact)(torch.tensor([[2.0, 2.0], [-2.0, -2.0]], dtype=torch.float64), exact.stds[:2] * 0 + 0.1,
                        torch.tensor([0.5, 0.5], dtype=torch.float64))  # fmt: skip
    known = torch.tensor([[2.0, 0.0], [-2.0, 0.0]], dtype=torch.float64).repeat(50, 1)
    mask = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    seeds = tuple(range(100))
    x = run(sampler("ddim"), inpaint(twins.denoise, known, mask), start(draw(seeds, START, known), GRID), draw, seeds)
    agree = ((x[:, 1] - x[:, 0]).abs() < 1).double().mean()
    begun = start(draw(seeds, START, known), repaints(GRID, 1, 5))
    x = run(RePaint(), inpaint(twins.denoise, known, mask), begun, draw, seeds)
    assert agree > 0.5
    assert ((x[:, 1] - x[:, 0]).abs() < 1).double().mean() > agree, "resampling brings more of them to agree"


def clock(sigma: Tensor) -> Tensor:
    return share(Flow(), sigma)


def test_a_strength_of_a_place_is_a_level() -> None:
    """A mask of 0.3 may change by 0.3: it is kept above flow time 0.3 and free below."""
    known, x = torch.zeros(2, 3), torch.ones(2, 3)
    mask = torch.tensor([[1.0, 0.3, 0.0]])
    sigma = torch.tensor([0.29 / 0.71, 0.31 / 0.69])
    x0 = inpaint_by_level(lambda x, sigma: torch.ones_like(x), known, mask, clock)(x, sigma)
    assert x0.tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_hard_masks_mean_the_same_by_level() -> None:
    made = torch.Generator().manual_seed(2)
    known, x = (torch.randn(3, 4, 5, generator=made) for _ in range(2))
    mask, sigma = (torch.rand(3, 4, 5, generator=made) > 0.5).float(), torch.tensor([0.1, 2.0, 1e6])
    assert torch.equal(inpaint_by_level(guess, known, mask, clock)(x, sigma), inpaint(guess, known, mask)(x, sigma))
    with pytest.raises(InputError, match="1 is painted, 0 is kept"):
        inpaint_by_level(guess, known, mask + 1, clock)


def test_places_of_more_strength_end_further_from_what_is_known() -> None:
    exact = mixture((4, 8))
    known = 3 + torch.zeros(20, 4, 8, dtype=torch.float64)
    mask = torch.linspace(1, 0, 8, dtype=torch.float64).expand(1, 4, 8)
    seeds = tuple(range(20))
    denoise = inpaint_by_level(exact.denoise, known, mask, clock)
    x = run(sampler("ddim"), denoise, start(draw(seeds, START, known), GRID), draw, seeds)
    gaps = (x - known).abs().mean((0, 1)).tolist()
    assert gaps[-1] <= 1e-12
    assert gaps[0] > gaps[3] > gaps[6] > gaps[-1]


@given(st.integers(0, 31), st.integers(0, 31), st.sampled_from([2, 4, 8]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_thin_line_never_vanishes(at: int, length: int, factor: int, upright: bool) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., : length + 1, at] = 1
    mask = mask if upright else mask.transpose(2, 3)
    found = to_cells(mask, factor)
    again = found.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert bool((again[mask == 1] == 1).all())
    assert int((found == 1).sum()) == length // factor + 1
    assert bool((found >= torch.nn.functional.avg_pool2d(mask, factor)).all())


def test_a_region_says_what_the_grid_can_resolve() -> None:
    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 5, 9:14] = 1
    found = region(mask, 4)
    assert (found.painted, found.drawn, found.total, found.box) == (5, 32, 384, (8, 4, 16, 8))
    assert str(found) == (
        "mask: paints 5 of 384 pixels; the 4x4 latent cells that cover them have 32 pixels, (8, 4) to (16, "
        "8); the 27 kept ones are put back"
    )


def test_what_is_painted_does_not_leak_into_what_is_filled() -> None:
    """The fill is made of what is kept alone, and lies between its colours; what is kept stays to the bit."""
    made = torch.Generator().manual_seed(5)
    picture, other = (torch.randn(2, 3, 12, 16, generator=made) for _ in range(2))
    mask = torch.zeros(1, 1, 12, 16)
    mask[..., 4:9, 5:] = 1
    found = fill(picture, mask)
    assert torch.equal(found, fill(torch.where(mask == 0, picture, other), mask))
    assert torch.equal(found[(mask == 0).expand_as(found)], picture[(mask == 0).expand_as(found)])
    assert torch.equal(fill(torch.ones_like(picture), mask), torch.ones_like(picture))
    inside = found[..., 4:9, 5:]
    assert bool((inside >= picture.amin((2, 3), keepdim=True)).all())
    assert bool((inside <= picture.amax((2, 3), keepdim=True)).all())
    soft = torch.where(mask == 0, mask, 0.5)
    assert torch.equal(fill(picture, soft), picture)
    assert torch.equal(fill(picture, torch.ones_like(mask)), torch.zeros_like(picture))


def test_the_fill_is_nearest_to_the_nearest() -> None:
    picture = torch.zeros(1, 1, 8, 64)
    picture[..., 0], picture[..., -1] = -1, 1
    mask = torch.ones_like(picture)
    mask[..., 0] = mask[..., -1] = 0
    row = fill(picture, mask)[0, 0, 4]
    assert bool((row.diff() >= 0).all())
    assert row[1] < -0.9
    assert row[-2] > 0.9


def test_the_fill_is_smooth() -> None:
    """Between two colours it rises in small steps: it is interpolated, not copied from the nearest cell."""
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 0], picture[..., -1] = -1, 1
    mask = torch.ones_like(picture)
    mask[..., 0] = mask[..., -1] = 0
    row = fill(picture, mask)[0, 0, 32, 1:-1]
    assert row.diff().max() < 0.3
    assert len(set(row.tolist())) > 20


def test_a_seam_lies_in_what_is_painted() -> None:
    mask = torch.ones(1, 1, 9, 24)
    mask[..., :6] = 0
    found = feathered(mask, 3)
    assert torch.equal(found[mask == 0], mask[mask == 0])
    assert found[0, 0, 4, 5:11].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert torch.equal(feathered(mask, 0), mask)


@given(st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_what_is_too_thin_for_a_seam_has_none(pixels: int, width: int) -> None:
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 8 : 8 + width] = 1
    found = feathered(mask, pixels)
    assert torch.equal(found[mask == 0], mask[mask == 0])
    deepest = float(found[0, 0, 12, 8 : 8 + width].max())
    assert deepest == 1.0, "something is painted outright"
    soft = torch.full((1, 1, 8, 8), 0.5)
    assert bool((feathered(soft, pixels) <= soft).all())


def test_levels_fall_along_the_clock() -> None:
    sigma = torch.tensor([0.0, 0.1, 1.0, 10.0, inf], dtype=torch.float64)
    assert all(low < high for low, high in pairwise(clock(sigma).tolist()))
    assert clock(sigma)[[0, 2, -1]].tolist() == [0.0, 0.5, 1.0]
