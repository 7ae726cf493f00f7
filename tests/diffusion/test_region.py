"""What a mask covers: places of a strength, and cells of a region."""

import pytest
import torch

from unnoise.diffusion.inpainting import painted_at, region


@pytest.mark.parametrize(
    ("strength", "share", "painted"),
    [(0.0, 0.0, 0), (0.0, 1.0, 0), (0.5, 0.49, 1), (0.5, 0.5, 1), (0.5, 0.51, 0), (1.0, 1.0, 1), (1.0, 1.5, 1)],
)
def test_a_place_is_painted_from_its_strength_on(strength: float, share: float, painted: int) -> None:
    assert painted_at(torch.tensor([strength]), torch.tensor([share])).tolist() == [painted]


def test_nothing_and_everything_is_a_region() -> None:
    found = region(torch.zeros(1, 1, 8, 8), 4)
    assert (found.painted, found.drawn, found.box) == (0, 0, (0, 0, 0, 0))
    found = region(torch.full((1, 1, 8, 12), 0.01), 4)
    assert (found.painted, found.drawn, found.total, found.box) == (96, 96, 96, (0, 0, 12, 8))
