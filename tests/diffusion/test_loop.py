"""The loop runs the denoiser at the right levels, pauses anywhere, draws by seed and step, and stops at NaN."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from diffusion.mixture import mixture
from torch import Tensor

from unnoise.diffusion.inpainting import inpaint
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling.level import move, signal, spread
from unnoise.sampling.state import State, start

GRID = (math.inf, 20.0, 4.0, 1.0, 0.3, 0.0)
SEEDS = (11, 7, 2**64 - 1)
SHAPES = ((2,), (3, 7), (3, 4, 5), (2, 3, 4, 5))


def following(state: State[Tensor], x: Tensor) -> State[Tensor]:
    return replace(state, i=state.i + 1, x=x, level=state.grid[state.i + 1])


@dataclass(frozen=True)
class Plain:
    """Move along the line to x0."""

    order: ClassVar[int] = 1
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def advance(self, state: State[Tensor], x0: Tensor, noise: Tensor | None = None) -> State[Tensor]:
        assert noise is None
        return following(state, move(state.x, x0, state.level, state.grid[state.i + 1]))


@dataclass(frozen=True)
class Renoise:
    """Add fresh noise to x0."""

    order: ClassVar[int] = 1
    queries: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def advance(self, state: State[Tensor], x0: Tensor, noise: Tensor | None = None) -> State[Tensor]:
        assert noise is not None
        there = state.grid[state.i + 1]
        return following(state, signal(there) * x0 + spread(there) * noise)


def begin(shape: tuple[int, ...], seeds: tuple[int, ...] = SEEDS) -> State[Tensor]:
    return start(draw(seeds, START, torch.empty(len(seeds), *shape)), GRID)


@pytest.mark.parametrize("sampler", [Plain(), Renoise()], ids=repr)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_does_not_depend_on_its_batch(shape: tuple[int, ...], sampler: Plain | Renoise) -> None:
    denoise = mixture(shape, torch.float32).denoise
    together = run(sampler, denoise, begin(shape), draw, SEEDS)
    assert together.shape == (3, *shape)
    for row, seed in enumerate(SEEDS):
        alone = run(sampler, denoise, begin(shape, (seed,)), draw, (seed,))
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=3e-6)


@pytest.mark.parametrize("sampler", [Plain(), Renoise()], ids=repr)
def test_every_level_has_one_call_and_one_callback(sampler: Plain | Renoise) -> None:
    exact, called, reported = mixture((3,), torch.float32), [], []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        assert (sigma.shape, sigma.dtype) == ((3,), torch.float32)
        called.append(sigma[0].item())
        return exact.denoise(x, sigma)

    def callback(state: State[Tensor], x0: Tensor) -> None:
        reported.append((state.i, torch.equal(x0, exact.denoise(state.x, torch.full((3,), state.level)))))

    run(sampler, denoise, begin((3,)), draw, SEEDS, callback)
    assert called == pytest.approx(GRID[:-1])
    assert reported == [(i, True) for i in range(5)]


@pytest.mark.parametrize("sampler", [Plain(), Renoise()], ids=repr)
def test_a_paused_run_ends_as_one_that_was_not(sampler: Plain | Renoise) -> None:
    denoise = mixture((3, 4), torch.float32).denoise
    paused: list[State[Tensor]] = []
    whole = run(sampler, denoise, begin((3, 4)), draw, SEEDS, lambda state, x0: paused.append(state))
    for state in paused:
        assert torch.equal(run(sampler, denoise, state, draw, SEEDS), whole)


def test_noise_is_drawn_by_seed_and_step() -> None:
    drawn: list[tuple[tuple[int, ...], int]] = []

    def record(seeds: tuple[int, ...], step: int, like: Tensor) -> Tensor:
        drawn.append((seeds, step))
        return draw(seeds, step, like)

    denoise = mixture((3,), torch.float32).denoise
    run(Plain(), denoise, begin((3,)), record, list(SEEDS))
    assert drawn == []
    run(Renoise(), denoise, begin((3,)), record, list(SEEDS))
    assert drawn == [(SEEDS, step) for step in range(5)]


def test_kept_elements_come_back_bit_for_bit() -> None:
    exact = mixture((3, 4), torch.float32)
    known, mask = torch.randn(3, 3, 4), (torch.rand(3, 3, 4) > 0.5).float()
    for sampler in (Plain(), Renoise()):
        x = run(sampler, inpaint(exact.denoise, known, mask), begin((3, 4)), draw, SEEDS)
        assert torch.equal(x[mask == 0], known[mask == 0])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_nan_and_infinity_stop_the_run(wrong: float) -> None:
    exact = mixture((3,), torch.float32)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = exact.denoise(x, sigma)
        x0[1, 2] = wrong if sigma[0] < 5 else 0.0
        return x0

    message = r"step 2 of 5, sigma 4, dtype torch.float32: NaN or infinity in the samples of seeds \[7\]"
    with pytest.raises(NonFiniteError, match=message):
        run(Plain(), denoise, begin((3,)), draw, SEEDS)


def test_float64_states_are_denoised_in_float64() -> None:
    exact = mixture((3,))
    x = run(Plain(), exact.denoise, start(torch.randn(2, 3, dtype=torch.float64), GRID), draw, (1, 2))
    assert x.dtype == torch.float64


@pytest.mark.parametrize("sampler", [Plain(), Renoise()], ids=repr)
def test_seeds_must_fit_the_rows(sampler: Plain | Renoise) -> None:
    with pytest.raises(InputError, match="2 seeds: one for each of the 3 rows"):
        run(sampler, mixture((3,), torch.float32).denoise, begin((3,)), draw, (1, 2))
