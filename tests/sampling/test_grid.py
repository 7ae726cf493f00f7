"""The grids: their values against their sources, and what they refuse."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from unnoise.errors import InputError
from unnoise.sampling.defaults import measured
from unnoise.sampling.grid import (
    angle,
    beta_time,
    check_grid,
    explicit,
    exponential,
    flow_shift,
    flux_shift,
    karras,
    leading,
    linear_quadratic,
    linspace,
    polyexponential,
    skipping,
    trailing,
    uniform_time,
)

FINITE: list[Callable[..., tuple[float, ...]]] = [
    karras,
    exponential,
    polyexponential,
    lambda steps, high, low: polyexponential(steps, high, low, 2.0),
]
ANY: list[Callable[..., tuple[float, ...]]] = [
    angle,
    measured,
    lambda steps, high, low: flow_shift(steps, 3.0, 1.0, high, low),
    lambda steps, high, low: flow_shift(steps, 0.5, 2.0, high, low),
    lambda steps, high, low: flux_shift(steps, 1000, high, low),
    linear_quadratic,
]
TABLE = [float(i) for i in range(1, 1001)]


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


def test_polyexponential_is_k_diffusion_s() -> None:
    """Source: crowsonkb/k-diffusion, get_sigmas_polyexponential, for n = 5, sigma from 16 to 1, rho = 2."""
    ramp = [1.0, 0.75, 0.5, 0.25, 0.0]
    published = [math.exp(r**2 * (math.log(16.0) - math.log(1.0)) + math.log(1.0)) for r in ramp]
    assert polyexponential(5, 16.0, 1.0, 2.0) == pytest.approx([*published, 0.0], rel=1e-12)
    assert polyexponential(7, 80.0, 0.002) == pytest.approx(exponential(7, 80.0, 0.002), rel=1e-12)
    assert polyexponential(1, 80.0, 0.002, 3.0) == (80.0, 0.0)


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


@pytest.mark.parametrize(("tokens", "mu"), [(256, 0.5), (4096, 1.15), (2176, 0.825), (8192, 1.15 + 4096 * 0.65 / 3840)])
def test_flux_shift_is_flux(tokens: int, mu: float) -> None:
    """Source: black-forest-labs/flux, time_shift with its sigma = 1, on even t, as sigma = t'/(1 - t')."""
    times = [math.exp(mu) / (math.exp(mu) + (1 / t - 1)) for t in (0.75, 0.5, 0.25)]
    published = [math.inf, *(time / (1 - time) for time in times), 0.0]
    assert flux_shift(4, tokens) == pytest.approx(published, rel=1e-12)


def mochi(steps: int, threshold: float, linear: int) -> list[float]:
    """Return times from 1 to 0: a line, then a parabola that meets it in value and slope, and 1 at the end.

    Source: genmoai/mochi, linear_quadratic_schedule.
    """
    rest = linear - threshold * steps
    c = rest / (linear * (steps - linear) ** 2)
    d = threshold / linear - 2 * rest / (steps - linear) ** 2
    line = [i * threshold / linear for i in range(linear)]
    return [1 - part for part in [*line, *(c * i**2 + d * i + c * linear**2 for i in range(linear, steps)), 1.0]]


@pytest.mark.parametrize(("steps", "threshold", "linear"), [(64, 0.025, 32), (10, 0.025, 5), (7, 0.1, 2), (2, 0.3, 1)])
def test_linear_quadratic_is_mochi_s(steps: int, threshold: float, linear: int) -> None:
    times = mochi(steps, threshold, linear)
    published = [math.inf, *(time / (1 - time) for time in times[1:-1]), 0.0]
    assert linear_quadratic(steps, threshold=threshold, linear_steps=linear) == pytest.approx(published, rel=1e-9)
    if (threshold, linear) == (0.025, steps // 2):
        assert linear_quadratic(steps) == linear_quadratic(steps, threshold=threshold, linear_steps=linear)


def test_linear_quadratic_stays_in_the_range() -> None:
    """Times are rescaled: the even part stays even, and the quadratic part quadratic."""
    grid = linear_quadratic(10, 14.6, 0.8)
    times = [level / (1 + level) for level in grid[:-1]]
    drops = [here - there for here, there in pairwise(times)]
    assert (grid[0], grid[-2]) == (14.6, pytest.approx(0.8))
    assert drops[:5] == pytest.approx([drops[0]] * 5)
    bends = [there - here for here, there in pairwise(drops[5:])]
    assert bends == pytest.approx([bends[0]] * len(bends))
    assert bends[0] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold 0.0: a number between 0 and 1"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"threshold": 1.0}, "threshold 1.0"),
        ({"threshold": 0.9}, "threshold 0.9: too high for 5 of 10 steps"),
        ({"linear_steps": 0}, "linear_steps 0: a whole number from 1 to 9"),
        ({"linear_steps": 10}, "linear_steps 10: a whole number from 1 to 9"),
        ({"linear_steps": 2.5}, "linear_steps 2.5"),
    ],
)
def test_linear_quadratic_refuses(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        linear_quadratic(10, **options)


def test_sigma_min_is_the_last_level_above_0_where_the_grid_would_go_below() -> None:
    assert flow_shift(50, 2.5, 2.0, 14.6, 0.03)[-2] == pytest.approx(0.03)
    assert angle(100, 80.0, 0.5)[-2] == pytest.approx(0.5)
    assert flow_shift(5, 2.5, 2.0, 14.6, 0.03)[-2] > 0.08


def test_trailing_is_as_published() -> None:
    """Source: Lin et al. 2024, table 2: timesteps 1000, 900, .. 100 of 1 .. 1000 for ten steps."""
    assert trailing(TABLE, 10) == (*(float(i) for i in range(1000, 0, -100)), 0.0)
    assert trailing(TABLE, 3) == (1000.0, 667.0, 333.0, 0.0)
    assert trailing(TABLE, 1) == (1000.0, 0.0)
    assert trailing(TABLE, 1000) == (*reversed(TABLE), 0.0)


def test_skipping_is_as_published() -> None:
    """Source: Luo et al. 2023 (LCM), section 4.3; four of 50 steps are times 999, 759, 499, 259, which count from 0."""
    assert skipping(TABLE, 4) == (1000.0, 760.0, 500.0, 260.0, 0.0)
    assert skipping(TABLE, 8) == (1000.0, 880.0, 760.0, 640.0, 500.0, 380.0, 260.0, 140.0, 0.0)
    assert skipping(TABLE, 1) == (1000.0, 0.0)
    assert skipping(TABLE, 50) == (*(float(i) for i in range(1000, 0, -20)), 0.0)
    assert skipping(TABLE, 2, 100) == (1000.0, 500.0, 0.0)
    for steps, distilled in ((51, 50), (4, 3), (4, 1001), (4, 50.0)):
        with pytest.raises(InputError, match=f"steps {steps}: .* levels of the distillation, {distilled} of 1000"):
            skipping(TABLE, steps, distilled)  # type: ignore[arg-type]


def test_leading_is_as_published() -> None:
    """Source: Lin et al. 2024, table 2: every floor(T/S)-th of 1 .. T from 1; offset 1 is Stable Diffusion's."""
    assert leading(TABLE, 10) == (*(float(i) for i in range(901, 0, -100)), 0.0)
    assert leading(TABLE, 25) == (*(float(i) for i in range(961, 0, -40)), 0.0)
    assert leading(TABLE, 3) == (667.0, 334.0, 1.0, 0.0)
    assert leading(TABLE, 10, offset=1) == (*(float(i) for i in range(902, 0, -100)), 0.0)
    assert leading(TABLE, 1000) == (*reversed(TABLE), 0.0)


def test_leading_starts_below_the_noisiest_level_and_the_others_on_it() -> None:
    for steps in (2, 10, 37, 500):
        assert leading(TABLE, steps)[0] < trailing(TABLE, steps)[0] == linspace(TABLE, steps)[0] == 1000.0


def test_linspace_is_as_published() -> None:
    """Source: Lin et al. 2024, table 2: both ends of 1 .. T and even between, rounded."""
    assert linspace(TABLE, 4) == (1000.0, 667.0, 334.0, 1.0, 0.0)
    assert linspace(TABLE, 25)[:3] == (1000.0, 958.0, 917.0)
    assert linspace(TABLE, 1) == (1000.0, 0.0)
    assert linspace(TABLE, 1000) == (*reversed(TABLE), 0.0)


def test_beta_time_is_quantiles_of_time() -> None:
    """Source: Lee et al. 2024: Beta(1/2, 1/2) has the quantiles sin^2(pi·p/2)."""
    published = [1 - math.cos(math.pi * p / 2) ** 2 for p in (1.0, 0.75, 0.5, 0.25)]
    assert beta_time(4, lambda t: 9 * t, a=0.5, b=0.5) == pytest.approx([*(9 * t for t in published), 0.0])
    assert beta_time(4, lambda t: 999 - t, 0.0, 999.0, 0.5, 0.5) == pytest.approx([*(999 * t for t in published), 0.0])
    assert beta_time(6, lambda t: t, a=1.0, b=1.0) == pytest.approx(uniform_time(6, lambda t: t))


def test_beta_time_is_dense_at_both_ends() -> None:
    times = beta_time(100, lambda t: t)
    drops = [here - there for here, there in pairwise(times)]
    assert drops[0] < drops[1] < drops[50] > drops[-2] > drops[-1]
    assert drops == pytest.approx(drops[::-1], rel=1e-6)


def test_beta_time_refuses() -> None:
    with pytest.raises(InputError, match=r"a 0.0: a shape parameter above 0"):
        beta_time(5, lambda t: t, a=0.0)
    with pytest.raises(InputError, match=r"b nan: a shape parameter above 0"):
        beta_time(5, lambda t: t, b=math.nan)
    with pytest.raises(InputError, match="a grid descends"):
        beta_time(5, lambda t: 2 - t)
    with pytest.raises(InputError, match="steps 0"):
        beta_time(0, lambda t: t)


def test_uniform_time_is_even_in_time() -> None:
    """For a time that rises or falls with the level: flow time, and EDM's logarithm."""
    assert uniform_time(4, lambda t: t / (1 - t) if t < 1 else math.inf) == flow_shift(4)
    assert uniform_time(3, math.exp, math.log(8.0), 0.0) == pytest.approx((8.0, 4.0, 2.0, 0.0))
    with pytest.raises(InputError, match=r"grid\[1\] is 0.5: a grid descends, and grid\[0\] is 0.25"):
        uniform_time(4, lambda t: t / 4, 1.0, 5.0)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "at least 2 levels"),
        ([1.0], "at least 2 levels"),
        ([1.0, 2.0], r"grid\[1\] is 2: a grid descends, and grid\[0\] is 1"),
        ([1.0, 1.0], r"grid\[1\] is 1: must differ from grid\[0\], which is 1"),
        ([math.inf, math.inf, 0.0], r"grid\[1\] is inf: must differ"),
        ([math.inf, 1e20, 0.0], r"grid\[1\] is 1e\+20: must differ"),
        ([2.0, math.inf, 0.0], r"grid\[1\] is inf"),
        ([2.0, -1.0], r"grid\[1\] is -1: a level is a number from 0 to inf"),
        ([math.nan, 0.0], r"grid\[0\] is nan"),
        ([2.0, 0.0, 0.0], r"grid\[1\] is 0: only the last level may be 0"),
        ([0.0, 0.0], r"grid\[0\] is 0: only the last level may be 0"),
        (["a", 1.0], "a list of numbers"),
        ([None, 1.0], "a list of numbers"),
        (3.0, "a list of numbers"),
    ],
)
def test_a_wrong_list_is_refused(levels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explicit(levels)


def test_a_list_is_returned_unchanged() -> None:
    assert explicit([math.inf, 3, 1]) == (math.inf, 3.0, 1.0)
    assert check_grid([0.5, 2, math.inf, 1, 0]) == (0.5, 2.0, math.inf, 1.0, 0.0)


@pytest.mark.parametrize("make", FINITE)
@pytest.mark.parametrize(("high", "low"), [(math.inf, 0.1), (80.0, 0.0)])
def test_powers_need_finite_ends(make: Any, high: float, low: float) -> None:
    with pytest.raises(InputError, match="'flow' or 'angle', which take any range"):
        make(5, high, low)


@pytest.mark.parametrize("make", [*FINITE, *ANY])
def test_wrong_ranges_are_refused(make: Any) -> None:
    for high, low in ((1.0, 2.0), (1.0, 1.0), (1.0, -0.5), (math.nan, 0.1), (0.0, 0.0)):
        with pytest.raises(InputError, match="sigma_min"):
            make(5, high, low)
    for steps in (0, -1, 2.5, "3"):
        with pytest.raises(InputError, match="steps"):
            make(steps, 2.0, 1.0)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_shape_parameters_are_positive(value: float) -> None:
    with pytest.raises(InputError, match="rho"):
        karras(5, 2.0, 1.0, value)
    with pytest.raises(InputError, match="rho"):
        flow_shift(5, 1.0, value)
    with pytest.raises(InputError, match="shift"):
        flow_shift(5, value)
    with pytest.raises(InputError, match="rho"):
        polyexponential(5, 2.0, 1.0, value)


@pytest.mark.parametrize("tokens", [0, -4, 2.5, math.nan, "4096", None])
def test_tokens_are_a_whole_number(tokens: Any) -> None:
    with pytest.raises(InputError, match=r"tokens .*: a whole number from 1 up"):
        flux_shift(5, tokens)


@pytest.mark.parametrize("make", [trailing, leading, linspace])
def test_tables_refuse_more_steps_than_levels(make: Any) -> None:
    with pytest.raises(InputError, match="steps 4: from 1 to 3, the number of levels of the table"):
        make([0.1, 0.2, 0.3], 4)
    with pytest.raises(InputError, match="a grid descends"):
        make([0.3, 0.2, 0.1], 3)
    with pytest.raises(InputError, match="nan"):
        make([0.1, math.nan, 0.3], 3)
    with pytest.raises(InputError, match="steps 0"):
        make([0.1, 0.2, 0.3], 0)


@pytest.mark.parametrize("offset", [-1, 100, 1.0, None])
def test_leading_refuses_an_offset_beyond_its_table(offset: Any) -> None:
    assert leading(TABLE, 10, 99)[0] == 1000.0
    with pytest.raises(InputError, match=r"offset .*: a whole number from 0 to 99 for 10 of 1000 levels"):
        leading(TABLE, 10, offset)
