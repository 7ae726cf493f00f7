"""Slerp of noise: the ends bit for bit, unit variance between them."""

import pytest
import torch

from unnoise.diffusion.slerp import slerp
from unnoise.errors import InputError


def pair(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made), torch.randn(*shape, generator=made)


def test_the_ends_are_bit_for_bit_the_noises() -> None:
    first, second = pair(3, 4, 5)
    assert torch.equal(slerp(first, second, 0), first)
    assert torch.equal(slerp(first, second, 1), second)


def test_slerp_is_symmetric() -> None:
    first, second = pair(2, 4, 8, 8)
    for share in (0.1, 0.5, 0.8):
        assert torch.allclose(slerp(first, second, share), slerp(second, first, 1 - share), atol=1e-6)


def test_length_and_angle_are_linear_in_the_share() -> None:
    first, second = pair(4, 3, 6, 6)
    second = 2 * second
    turned = []
    for share in (0.25, 0.5, 0.75):
        between = slerp(first, second, share)
        lengths = torch.lerp(first.flatten(1).norm(dim=1), second.flatten(1).norm(dim=1), share)
        assert torch.allclose(between.flatten(1).norm(dim=1), lengths, rtol=1e-5)
        turned.append(torch.acos(torch.cosine_similarity(first.flatten(1), between.flatten(1))))
    assert torch.allclose(turned[1], 2 * turned[0], atol=1e-4)
    assert torch.allclose(turned[2], 3 * turned[0], atol=1e-4)


def test_the_middle_has_unit_variance_where_a_line_has_half() -> None:
    first, second = pair(8, 4, 64, 64)
    assert slerp(first, second, 0.5).var().item() == pytest.approx(1.0, abs=0.01)
    assert torch.lerp(first, second, 0.5).var().item() == pytest.approx(0.5, abs=0.01)


def test_one_direction_is_a_line() -> None:
    first, _ = pair(2, 5)
    for factor in (2.0, -1.0):
        assert torch.allclose(slerp(first, factor * first, 0.3), torch.lerp(first, factor * first, 0.3))
    assert slerp(torch.zeros(1, 3), torch.ones(1, 3), 0.5).isfinite().all()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"share 1\.5: a number from 0 to 1"):
        slerp(*pair(1, 2), 1.5)
    with pytest.raises(InputError, match=r"noises \[1, 2\] and \[1, 3\]: must have one shape"):
        slerp(torch.zeros(1, 2), torch.zeros(1, 3), 0.5)
