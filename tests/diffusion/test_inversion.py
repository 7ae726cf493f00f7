"""Inversion: the error of round trips falls with the order of the sampler, sample by sample, in any rank."""

import math
from typing import Any

import pytest
import torch
from diffusion.mixture import Mixture, mixture
from torch import Tensor

from unnoise.diffusion.inversion import invert
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError, NonFiniteError
from unnoise.sampling import DDIM, IPNDM, Ancestral, DPMpp2M, DPMppSDE, Heun, Sampler, signal, spread, start
from unnoise.sampling.defaults import measured
from unnoise.sampling.grid import flow_shift

SEEDS = (3, 1, 2**64 - 1, 5)


def noise_of(shape: tuple[int, ...], seeds: tuple[int, ...] = SEEDS) -> Tensor:
    return draw(seeds, START, torch.empty(len(seeds), *shape, dtype=torch.float64))


def soft(shape: tuple[int, ...]) -> Mixture:
    """Return modes that overlap, so that a few steps already reach the order of the sampler."""
    made = torch.Generator().manual_seed(sum(shape))
    means = torch.randn(3, *shape, generator=made, dtype=torch.float64)
    return Mixture(means, torch.tensor([0.8, 1.0, 0.9]).double(), torch.tensor([0.5, 0.2, 0.3]).double())


def there_and_back(sampler: Sampler[Any, Any], steps: int) -> float:
    """Return the root mean square error of noise -> data -> noise."""
    cloud, grid, noise = soft((4,)), flow_shift(steps, 2.5, 2.0), noise_of((4,), tuple(range(32)))
    x0 = run(sampler, cloud.denoise, start(noise, grid), draw, range(32))
    back = invert(sampler, cloud.denoise, x0, grid)
    return (back - noise).square().mean().sqrt().item()


@pytest.mark.parametrize(("sampler", "order"), [(DDIM(), 1), (DPMpp2M(), 2), (IPNDM(2), 2), (Heun(), 3)], ids=repr)
def test_round_trip_error_has_the_order_of_the_sampler(sampler: Sampler[Any, Any], order: int) -> None:
    """Heun gains one: the leading error is odd in the length of the step, so inversion cancels it."""
    errors = [there_and_back(sampler, steps) for steps in (16, 64, 128)]
    assert errors[0] > errors[1] > errors[2]
    assert abs(math.log2(errors[1] / errors[2]) - order) < 0.2


def test_first_step_is_exact_without_a_call() -> None:
    """From signal*x0 at the lowest level, on a grid of three, DDIM by hand; the last level, 0, has no call."""
    cloud, x0, called = mixture((3,)), noise_of((3,)), []

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        called.append(sigma[0].item())
        return cloud.denoise(x, sigma)

    found = invert(DDIM(), denoise, x0, (math.inf, 2.0, 0.5, 0.0))
    assert called == [0.5, 2.0]
    x = signal(0.5) * x0
    guess = cloud.denoise(x, torch.full((4,), 0.5).double())
    x = signal(2.0) * guess + spread(2.0) * (x - signal(0.5) * guess) / spread(0.5)
    guess = cloud.denoise(x, torch.full((4,), 2.0).double())
    torch.testing.assert_close(found, (x - signal(2.0) * guess) / spread(2.0))


def test_start_is_off_by_the_square_of_the_lowest_level() -> None:
    """For N(m, 0.25) the noise of x0 is (x0 - m)/0.5, so the error is that of the first step."""
    cloud = Mixture(torch.full((1, 2), 0.7).double(), torch.tensor([0.5]).double(), torch.ones(1).double())
    x0 = noise_of((2,))

    def off(lowest: float) -> float:
        grid = [level for level in measured(2000) if level > 1.5 * lowest]
        found = invert(Heun(), cloud.denoise, x0, (*grid, lowest, 0.0))
        return (found - (x0 - 0.7) / 0.5).abs().max().item()

    assert abs(math.log2(off(0.1) / off(0.05)) - 2) < 0.1


def test_finite_top_gives_noise_of_the_unit_frame() -> None:
    cloud, grid = soft((6,)), measured(40, 30.0)
    noise = noise_of((6,), tuple(range(64)))
    x0 = run(IPNDM(), cloud.denoise, start(noise, grid), draw, range(64))
    back = invert(IPNDM(), cloud.denoise, x0, grid)
    torch.testing.assert_close(back, noise, rtol=0, atol=5e-3)


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), IPNDM()], ids=repr)
@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 4, 3), (2, 3, 2, 2)], ids=str)
def test_every_rank_and_every_sample_alone(shape: tuple[int, ...], sampler: Sampler[Any, Any]) -> None:
    cloud, grid = mixture(shape), measured(12)
    x0 = cloud.sample(4, torch.Generator().manual_seed(2))
    found = invert(sampler, cloud.denoise, x0, grid)
    assert (found.shape, found.dtype) == ((4, *shape), torch.float64)
    for row in range(4):
        alone = invert(sampler, cloud.denoise, x0[row : row + 1], grid)
        torch.testing.assert_close(alone[0], found[row], rtol=0, atol=1e-10)


def test_callback_is_called_for_every_query() -> None:
    levels: list[float] = []
    invert(DDIM(), mixture((2,)).denoise, noise_of((2,)), measured(6), lambda state, x0: levels.append(state.level))
    assert levels == sorted(levels)
    assert len(levels) == 5


def test_nan_and_infinity_stop() -> None:
    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        return x / (x.new_tensor([1.0, 1.0, 0.0, 1.0]) if sigma[0] > 1 else x.new_ones(4))[:, None]

    with pytest.raises(NonFiniteError, match=r"step 1 of 2, sigma 2, dtype torch.float64: .* \[2\]"):
        invert(DDIM(), broken, noise_of((2,)), (math.inf, 2.0, 0.5, 0.0))


@pytest.mark.parametrize(
    ("sampler", "grid", "message"),
    [
        (Ancestral(), (math.inf, 2.0, 0.5, 0.0), r"sampler DDIM\(eta=1.0\): .*deterministic"),
        (DPMppSDE(), (math.inf, 2.0, 0.5, 0.0), "sampler DPMppSDE.*deterministic"),
        (DDIM(), (math.inf, 0.0), r"grid \[inf, 0.0\]: at least 2 levels above 0"),
        (DDIM(), (0.5, 2.0, math.inf), r"grid\[1\] is 2: a grid descends"),
        (DDIM(), (math.inf, -1.0), r"grid\[1\] is -1"),
    ],
    ids=repr,
)
def test_bad_arguments_are_refused(sampler: Sampler[Any, Any], grid: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        invert(sampler, mixture((2,)).denoise, noise_of((2,)), grid)


def test_data_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="x0: contains NaN or infinity"):
        invert(DDIM(), mixture((2,)).denoise, torch.full((1, 2), math.inf), measured(4))
