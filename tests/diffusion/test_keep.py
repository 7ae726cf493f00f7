"""Inpainting: kept elements come back bit for bit, soft masks blend, wrong masks are refused."""

import pytest
import torch
from torch import Tensor

from unnoise.diffusion.keep import cells, keep
from unnoise.errors import Refusal


def guess(x: Tensor, sigma: Tensor) -> Tensor:
    return x.sin() + sigma.view(-1, *(1,) * (x.ndim - 1))


@pytest.mark.parametrize("shape", [(6,), (3, 7), (3, 4, 5), (2, 3, 4, 5)])
def test_hard_masks_are_exact(shape: tuple[int, ...]) -> None:
    made = torch.Generator().manual_seed(0)
    known, x = (torch.randn(2, *shape, generator=made) * 100 for _ in range(2))
    known[0, 0] = -0.0
    mask, sigma = (torch.rand(2, *shape, generator=made) > 0.5).float(), torch.tensor([0.5, 1e6])
    x0 = keep(guess, known, mask)(x, sigma)
    wanted = torch.where(mask == 1, known, guess(x, sigma))
    assert torch.equal(x0, wanted)
    assert torch.equal(torch.signbit(x0), torch.signbit(wanted))


def test_soft_masks_blend_and_broadcast() -> None:
    made = torch.Generator().manual_seed(0)
    known, x = (torch.randn(2, 3, 4, 5, generator=made) for _ in range(2))
    mask, sigma = torch.rand(2, 1, 4, 5, generator=made), torch.ones(2)
    blend = known * mask + guess(x, sigma) * (1 - mask)
    torch.testing.assert_close(keep(guess, known, mask)(x, sigma), blend)
    boolean = keep(guess, known, mask > 0.5)(x, sigma)
    assert torch.equal(boolean, torch.where(mask > 0.5, known, guess(x, sigma)))


def test_a_cell_is_kept_as_its_least_kept_pixel() -> None:
    mask = torch.ones(1, 1, 32, 40)
    mask[..., 17] = 0
    mask[..., 3, 33] = 0.25
    found = cells(mask, 8)
    wanted = torch.ones(1, 1, 4, 5)
    wanted[..., 2] = 0
    wanted[..., 0, 4] = 0.25
    assert torch.equal(found, wanted)


def test_wrong_masks_are_refused() -> None:
    known = torch.zeros(2, 3, 4)
    for says, mask in (
        ("1 keeps, 0 paints", torch.full((2, 3, 4), 1.5)),
        ("1 keeps, 0 paints", torch.full((2, 3, 4), torch.nan)),
        (r"mask \(2, 3, 5\)", torch.zeros(2, 3, 5)),
        (r"mask \(5, 2, 3, 4\)", torch.zeros(5, 2, 3, 4)),
    ):
        with pytest.raises(Refusal, match=says):
            keep(guess, known, mask)
    with pytest.raises(Refusal, match="known: holds NaN"):
        keep(guess, known / 0, torch.zeros(2, 3, 4))
