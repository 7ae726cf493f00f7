"""Noise depends on seed and step only, and not on the batch, the neighbours, the dtype or the thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from unnoise.diffusion.noise import START, draw, numbers
from unnoise.errors import InputError

SHAPES = ((2,), (3, 7), (3, 4, 5), (2, 3, 4, 5))


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_does_not_depend_on_batch_or_neighbours(shape: tuple[int, ...]) -> None:
    together = draw((3, 1, 4, 1), 2, torch.empty(4, *shape))
    for row, seed in enumerate((3, 1, 4, 1)):
        assert torch.equal(draw((seed,), 2, torch.empty(1, *shape))[0], together[row])
    assert torch.equal(together[1], together[3])
    assert torch.equal(draw((9, 4), 2, torch.empty(2, *shape))[1], together[2])


def test_seed_and_step_both_count() -> None:
    like = torch.empty(1, 64)
    drawn = [draw((seed,), step, like) for seed in (0, 1, 2**64 - 1) for step in (START, 0, 1, 999)]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert not torch.isclose(one, other).any()


def test_numbers_are_philox_as_documented() -> None:
    for seed, counter in ((0, ()), (7, (3,)), (2**64 - 1, (-1, 5, 2**63 - 1))):
        words = [word % 2**64 for word in counter]
        plain = np.random.Philox(
            key=np.array([seed, len(counter)], dtype=np.uint64),
            counter=np.array([0, *words, 0, 0, 0][:4], dtype=np.uint64),
        )
        assert (numbers(seed, *counter).bit_generator.random_raw(64) == plain.random_raw(64)).all()


def test_streams_do_not_overlap() -> None:
    places = [(), (0,), (1,), (-1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1)]
    raw = np.concatenate([numbers(5, *place).bit_generator.random_raw(4096) for place in places])
    assert len(np.unique(raw)) == len(raw)


def test_noise_has_the_dtype_of_like() -> None:
    single = draw((1,), 0, torch.empty(1, 5))
    assert single.dtype == torch.float32
    for dtype in (torch.float64, torch.bfloat16):
        assert torch.equal(draw((1,), 0, torch.empty(1, 5, dtype=dtype)), single.to(dtype))


def test_noise_is_standard_normal_within_and_across_seeds() -> None:
    noise = draw(tuple(range(400)), 0, torch.empty(400, 500)).double()
    count = noise.numel()
    assert abs(noise.mean()) < 4 / count**0.5
    assert abs(noise.square().mean() - 1) < 4 * (2 / count) ** 0.5
    assert abs(noise.pow(4).mean() - 3) < 4 * (96 / count) ** 0.5
    correlation = noise @ noise.T / 500**0.5  # of two seeds, about N(0, 1)
    off = correlation[~torch.eye(400, dtype=torch.bool)]
    assert abs(off.std() - 1) < 0.02
    assert off.abs().max() < 6


def test_threads_draw_the_same() -> None:
    like = torch.empty(2, 100)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda step: draw((1, 2), step, like), list(range(8)) * 4))
    assert all(torch.equal(one, draw((1, 2), i % 8, like)) for i, one in enumerate(drawn))


def test_no_rows_and_scalar_rows() -> None:
    assert draw((), 0, torch.empty(0, 3)).shape == (0, 3)
    assert draw((1, 2), 0, torch.empty(2)).shape == (2,)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=f"seed {seed}: 0 to 18446744073709551615"):
        draw((seed,), 0, torch.empty(1, 2))


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(InputError, match="2 seeds: one for each of the 3 rows"):
        draw((1, 2), 0, torch.empty(3, 2))
    for counter in ((1, 2, 3, 4), (2**63,)):
        with pytest.raises(InputError, match="at most 3 coordinates"):
            numbers(0, *counter)
