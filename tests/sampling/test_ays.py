"""The published levels: as printed for ten steps, linear in log(sigma) for others, and for their own models only."""

import math
from itertools import pairwise

import pytest

from unnoise.errors import InputError
from unnoise.sampling.ays import LEVELS, aligned, log_linear


@pytest.mark.parametrize("family", LEVELS)
def test_ten_steps_are_as_published(family: str) -> None:
    levels = LEVELS[family]
    assert aligned(10, family, levels[0], levels[-1]) == (*levels[:-1], 0.0)
    assert len(levels) == 11


@pytest.mark.parametrize("family", LEVELS)
def test_other_numbers_of_steps_are_interpolated(family: str) -> None:
    levels = LEVELS[family]
    high, low = levels[0], levels[-1]
    assert aligned(5, family, high, low) == pytest.approx((*levels[:-1:2], 0.0), rel=1e-12)
    twenty = aligned(20, family, high, low)
    assert twenty[:-1:2] == pytest.approx(levels[:-1], rel=1e-12)
    assert twenty[1::2] == pytest.approx([math.sqrt(here * there) for here, there in pairwise(levels)], rel=1e-12)
    for steps in (1, 2, 3, 7, 11, 99, 1000):
        grid = aligned(steps, family, high, low)
        assert (len(grid), grid[0], grid[-1]) == (steps + 1, high, 0.0)
        assert all(here > there for here, there in pairwise(grid))
        assert steps == 1 or grid[-2] > low


def test_the_model_s_own_end_replaces_the_rounded_one() -> None:
    """Stable Diffusion's table ends at 14.6146 and 0.02917, which are published as 14.615 and 0.029."""
    grid = aligned(10, "sdxl", 14.614641, 0.029167)
    assert grid == (14.614641, *LEVELS["sdxl"][1:-1], 0.0)


@pytest.mark.parametrize(
    ("high", "low"), [(math.inf, 0.0), (math.inf, 0.029), (80.0, 0.002), (13.0, 0.029), (14.615, 0.04), (157.4, 0.01)]
)
def test_another_range_is_refused(high: float, low: float) -> None:
    with pytest.raises(
        InputError, match=r"'ays-sd15' on .*: made for models from 14.615 to 0.029; .*'flow' or 'angle', which take"
    ):
        aligned(10, "sd15", high, low)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match=r"family 'sd': did you mean .* known: sd15, sdxl, svd"):
        aligned(10, "sd", 14.615, 0.029)
    with pytest.raises(InputError, match="steps 0"):
        aligned(0, "sd15", 14.615, 0.029)
    with pytest.raises(InputError, match="sigma_min"):
        aligned(10, "sd15", math.nan, 0.029)
    for levels in ((math.inf, 1.0), (1.0, 0.0)):
        with pytest.raises(InputError, match="finite numbers above 0"):
            log_linear(levels, 5)
    with pytest.raises(InputError, match="a grid descends"):
        log_linear((1.0, 2.0), 5)


def test_log_linear_of_a_line_is_even() -> None:
    assert log_linear((16.0, 4.0, 1.0), 4) == pytest.approx((16.0, 8.0, 4.0, 2.0, 1.0))
    assert log_linear((16.0, 2.0, 1.0), 2) == (16.0, 2.0, 1.0)
