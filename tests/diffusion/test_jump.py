"""A jump along a policy of n points: its weights against quadrature, its end against the differential equation."""

from math import inf

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.jump import Jump, combine, next_level, place, point_weights
from unnoise.diffusion.process import VP, Flow
from unnoise.errors import InputError
from unnoise.sampling.kinds import KINDS, Kind
from unnoise.sampling.level import move

CELLS = 20_000  # of the quadrature, whose error falls with the square of their number
PLACES = st.floats(0.01, 1.0)


def quadrature(count: int, here: float, there: float, part: float) -> Tensor:
    """Return the mean of each hat function over a part of a jump, evenly in 1/place."""
    stop = here + (there - here) * part
    even = (torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS
    places = 1 / (1 / here + (1 / stop - 1 / here) * even)
    at = (places - here) / (there - here) * (count - 1)
    return (1 - (at[:, None] - torch.arange(count)).abs()).clamp(min=0).mean(0)


@settings(max_examples=15)
@given(count=st.integers(2, 9), here=PLACES, there=PLACES, part=st.floats(0.01, 1.0))
def test_the_weights_are_the_means_of_the_hat_functions(count: int, here: float, there: float, part: float) -> None:
    if abs(here - there) < 1e-6:
        there = here / 2
    found = point_weights(count, *(torch.tensor([one], dtype=torch.float64) for one in (here, there, part)))
    torch.testing.assert_close(found[0], quadrature(count, here, there, part), atol=5e-6, rtol=0)


def test_the_limits_of_the_weights() -> None:
    here, there = torch.tensor([1.0, 0.4, 0.5, 0.5]), torch.tensor([0.0, 0.0, 0.5, 0.5 - 1e-7])
    found = point_weights(4, here, there)
    last, flat = torch.tensor([0.0, 0, 0, 1]), torch.tensor([1, 2, 2, 1]) / 6
    torch.testing.assert_close(found, torch.stack([last, last, flat, flat]).double(), atol=1e-6, rtol=0)
    first = point_weights(4, here, there, torch.zeros(4))
    torch.testing.assert_close(first, torch.tensor([[1.0, 0, 0, 0]] * 4).double(), atol=1e-6, rtol=0)
    assert torch.equal(point_weights(1, here, there), torch.ones(4, 1).double())
    series = point_weights(3, torch.full((2,), 0.5), 0.5 - torch.tensor([0.0454, 0.0455]))  # both sides of SERIES
    assert (series[0] - series[1]).abs().max() < 1e-4
    torch.testing.assert_close(series.sum(1), torch.ones(2).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_points_are_summed_in_float32_in_a_training_in_bfloat16(dtype: torch.dtype) -> None:
    points, weights = torch.randn(3, 5, 2, 4).to(dtype), torch.rand(3, 5, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = combine(points, weights)
    assert found.dtype == torch.float32
    right = torch.einsum("bnij,bn->bij", points.double(), weights)
    torch.testing.assert_close(found.double(), right, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("here", "there"), [(inf, 1.0), (2.0, 0.3), (inf, 0.0), (0.4, 3.0)])
def test_the_path_solves_the_flow_with_the_x0_of_the_policy(here: float, there: float) -> None:
    """Euler's method in small steps along d(y)/d(place) = (y - x0)/place, and DDIM with the mean x0, end alike."""
    made = torch.Generator().manual_seed(0)
    x, points = (torch.randn(2, *shape, generator=made, dtype=torch.float64) for shape in ((3,), (5, 3)))
    ends = [place(torch.full((2,), level, dtype=torch.float64)) for level in (here, there)]
    jump, count = Jump(x, *ends, points), 1000
    y = x * torch.hypot(1 - ends[0], ends[0])[:, None]
    for k in range(count):
        middle = torch.full((2,), (k + 0.5) / count, dtype=torch.float64)
        start, stop = (jump.place(torch.full((2,), (k + end) / count)) for end in (0, 1))
        y = (stop / start)[:, None] * y + (1 - stop / start)[:, None] * jump.x0(middle)
    end = y / torch.hypot(1 - ends[1], ends[1])[:, None]
    torch.testing.assert_close(jump.at(torch.ones(2)), end, atol=5e-3, rtol=0)
    torch.testing.assert_close(jump.at(torch.zeros(2)), x)
    moved = move(x, jump.mean_x0(torch.ones(2)), here, there)
    torch.testing.assert_close(jump.at(torch.ones(2)), moved, atol=1e-9, rtol=0)


class Several(nn.Module):
    """Returns n predictions that are functions of x and a shift of each point."""

    takes_end = True

    def __init__(self, points: int, spread: float) -> None:
        super().__init__()
        self.points, self.spread = points, spread

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        return torch.cat([x.tanh() + self.spread * k for k in range(self.points)], 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("process", [Flow(), VP()])
def test_the_prediction_of_a_jump_leads_to_the_end_of_its_policy(kind: Kind, process: Flow | VP) -> None:
    x, sigma = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([9.0, 2.0, 0.5])
    cond = Conditioning(end=place(torch.tensor([1.0, 0.0, 0.2])))
    several = Denoiser(Several(4, 0.3), process, kind)
    x0, jump = several(x, sigma, cond), several.jump(x, sigma, cond)
    assert jump.points.shape == (3, 4, 2, 4)
    torch.testing.assert_close(x0, jump.mean_x0(torch.ones(3)), atol=1e-5, rtol=1e-5)
    for row, (here, there) in enumerate(zip(sigma.tolist(), (1.0, 0.0, 0.2), strict=True)):
        ends = move(x[row], x0[row], here, there)
        torch.testing.assert_close(jump.at(torch.ones(3))[row], ends, atol=1e-5, rtol=1e-5)
    equal, one = Denoiser(Several(4, 0.0), process, kind), Denoiser(Several(1, 0.0), process, kind)
    torch.testing.assert_close(equal(x, sigma, cond), one(x, sigma, cond), atol=1e-5, rtol=1e-5)


def test_a_jump_without_an_end_or_of_another_shape_is_refused() -> None:
    x, sigma = torch.zeros(2, 3, 4), torch.ones(2)
    model = Denoiser(Several(4, 0.3), Flow(), "flow")
    with pytest.raises(InputError, match=r"cond\.end: missing; a net with points needs the unit clock"):
        model(x, sigma, Conditioning())
    model.net.forward = lambda x, time, cond: x  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"it must return 4 times the channels of x, \(2, 12, 4\)"):
        model(x, sigma, Conditioning(end=sigma))


def test_a_bound_denoiser_takes_its_ends_from_the_grid() -> None:
    seen: list[Tensor] = []

    class Ending(nn.Module):
        takes_end = True

        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            assert cond.end is not None
            seen.append(cond.end)
            return x

    grid = (inf, 3.0, 0.7, 0.0)
    denoise = Denoiser(Ending(), Flow(), "flow").bind(Conditioning(), grid)
    denoise(torch.zeros(5, 1), torch.tensor([inf, 3.0, 0.7, 0.0, 1.0]))
    torch.testing.assert_close(seen[0], torch.tensor([0.75, 0.7 / 1.7, 0, 0, 0.7 / 1.7]))
    assert torch.equal(next_level(grid, torch.tensor([inf])), torch.tensor([3.0]))
