"""The grids: their values against their sources, and what they refuse."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from unnoise.errors import Refusal
from unnoise.sampling.choose import measured
from unnoise.sampling.grid import angle, explicit, exponential, flow_shift, karras, sane, trailing, uniform_time

FINITE: list[Callable[..., tuple[float, ...]]] = [karras, exponential]
ANY: list[Callable[..., tuple[float, ...]]] = [
    angle,
    measured,
    lambda steps, high, low: flow_shift(steps, 3.0, 1.0, high, low),
    lambda steps, high, low: flow_shift(steps, 0.5, 2.0, high, low),
]


@pytest.mark.parametrize("make", [*FINITE, *ANY])
@pytest.mark.parametrize(("high", "low"), [(80.0, 0.002), (14.6, 0.03), (1.0, 0.5), (200.0, 1e-4)])
def test_grid_stays_in_its_range(make: Any, high: float, low: float) -> None:
    for steps in range(1, 60):
        grid = make(steps, high, low)
        assert len(grid) == steps + 1
        assert (grid[0], grid[-1]) == (high, 0.0)
        assert all(here > there for here, there in pairwise(grid))
        assert steps == 1 or grid[-2] >= low * (1 - 1e-9)


@pytest.mark.parametrize("make", ANY)
def test_grid_starts_at_inf(make: Any) -> None:
    for steps in range(1, 60):
        grid = make(steps, math.inf, 0.0)
        assert (len(grid), grid[0], grid[-1]) == (steps + 1, math.inf, 0.0)
        assert all(here > there for here, there in pairwise(grid))
        assert steps == 1 or math.isfinite(grid[1])


def test_karras_is_edm() -> None:
    """Source: NVlabs/edm, generate.py, edm_sampler: t_steps with its defaults and num_steps = 18."""
    root = 1 / 7
    published = [(80**root + i / 17 * (0.002**root - 80**root)) ** 7 for i in range(18)] + [0.0]
    assert karras(18, 80.0, 0.002) == pytest.approx(published, rel=1e-12)
    assert karras(1, 80.0, 0.002) == (80.0, 0.0)
    assert karras(3, 81.0, 1.0, rho=2.0) == pytest.approx((81.0, 25.0, 1.0, 0.0))


def test_exponential_has_even_ratios() -> None:
    assert exponential(4, 8.0, 1.0) == pytest.approx((8.0, 4.0, 2.0, 1.0, 0.0))


def test_angle_is_even_in_atan() -> None:
    assert angle(4) == pytest.approx((math.inf, math.tan(3 * math.pi / 8), 1.0, math.tan(math.pi / 8), 0.0))


def test_flow_shift_is_sd3() -> None:
    """Source: Esser et al. 2024, eq. 23, on even t, as sigma = t'/(1 - t')."""
    for shift in (1.0, 3.0):
        times = [shift * t / (1 + (shift - 1) * t) for t in (0.75, 0.5, 0.25)]
        published = [math.inf, *(time / (1 - time) for time in times), 0.0]
        assert flow_shift(4, shift) == pytest.approx(published, rel=1e-12)


def test_flow_shift_is_even_in_the_root_of_time() -> None:
    grid = flow_shift(5, 2.5, 2.0, 14.6, 0.0)
    roots = [math.sqrt(level / (2.5 + level)) for level in grid]
    assert [here - there for here, there in pairwise(roots)] == pytest.approx([roots[0] / 5] * 5)


def test_sigma_min_is_the_last_question_where_the_grid_would_go_below() -> None:
    assert flow_shift(50, 2.5, 2.0, 14.6, 0.03)[-2] == pytest.approx(0.03)
    assert angle(100, 80.0, 0.5)[-2] == pytest.approx(0.5)
    assert flow_shift(5, 2.5, 2.0, 14.6, 0.03)[-2] > 0.08


def test_trailing_is_as_published() -> None:
    """Source: Lin et al. 2024, table 2: timesteps 1000, 900, .. 100 of 1 .. 1000 for ten steps."""
    table = [float(i) for i in range(1, 1001)]
    assert trailing(table, 10) == (*(float(i) for i in range(1000, 0, -100)), 0.0)
    assert trailing(table, 3) == (1000.0, 667.0, 333.0, 0.0)
    assert trailing(table, 1) == (1000.0, 0.0)
    assert trailing(table, 1000) == (*reversed(table), 0.0)


def test_uniform_time_asks_the_clock() -> None:
    """A clock that runs either way: flow time down to 0, and EDM's log-level."""
    assert uniform_time(4, lambda t: t / (1 - t) if t < 1 else math.inf) == flow_shift(4)
    assert uniform_time(3, math.exp, math.log(8.0), 0.0) == pytest.approx((8.0, 4.0, 2.0, 0.0))
    with pytest.raises(Refusal, match=r"grid\[1\] is 0.5: a grid descends, and grid\[0\] is 0.25"):
        uniform_time(4, lambda t: t / 4, 1.0, 5.0)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "at least 2 levels"),
        ([1.0], "at least 2 levels"),
        ([1.0, 2.0], r"grid\[1\] is 2: a grid descends, and grid\[0\] is 1"),
        ([1.0, 1.0], r"grid\[1\] is 1: that is no step from grid\[0\], which is 1"),
        ([math.inf, math.inf, 0.0], r"grid\[1\] is inf: that is no step"),
        ([math.inf, 1e20, 0.0], r"grid\[1\] is 1e\+20: that is no step"),
        ([2.0, math.inf, 0.0], r"grid\[1\] is inf"),
        ([2.0, -1.0], r"grid\[1\] is -1: a level is a number from 0 to inf"),
        ([math.nan, 0.0], r"grid\[0\] is nan"),
        ([2.0, 0.0, 0.0], r"grid\[1\] is 0: nothing is left"),
        ([0.0, 0.0], r"grid\[0\] is 0: nothing is left"),
        (["a", 1.0], "a list of numbers"),
        ([None, 1.0], "a list of numbers"),
        (3.0, "a list of numbers"),
    ],
)
def test_a_list_at_fault_is_refused(levels: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        explicit(levels)


def test_a_list_is_taken_as_it_is() -> None:
    assert explicit([math.inf, 3, 1]) == (math.inf, 3.0, 1.0)
    assert sane([0.5, 2, math.inf, 1, 0]) == (0.5, 2.0, math.inf, 1.0, 0.0)


@pytest.mark.parametrize("make", FINITE)
@pytest.mark.parametrize(("high", "low"), [(math.inf, 0.1), (80.0, 0.0)])
def test_powers_need_finite_ends(make: Any, high: float, low: float) -> None:
    with pytest.raises(Refusal, match="'flow' and 'angle' take any range"):
        make(5, high, low)


@pytest.mark.parametrize("make", [*FINITE, *ANY])
def test_ranges_at_fault_are_refused(make: Any) -> None:
    for high, low in ((1.0, 2.0), (1.0, 1.0), (1.0, -0.5), (math.nan, 0.1), (0.0, 0.0)):
        with pytest.raises(Refusal, match="sigma_min"):
            make(5, high, low)
    for steps in (0, -1, 2.5, "3"):
        with pytest.raises(Refusal, match="steps"):
            make(steps, 2.0, 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_shape_parameters_are_positive(value: float) -> None:
    with pytest.raises(Refusal, match="rho"):
        karras(5, 2.0, 1.0, value)
    with pytest.raises(Refusal, match="rho"):
        flow_shift(5, 1.0, value)
    with pytest.raises(Refusal, match="shift"):
        flow_shift(5, value)


def test_trailing_refuses_more_steps_than_levels() -> None:
    with pytest.raises(Refusal, match="the table holds 3 levels, so from 1 to 3"):
        trailing([0.1, 0.2, 0.3], 4)
    with pytest.raises(Refusal, match="a grid descends"):
        trailing([0.3, 0.2, 0.1], 3)
