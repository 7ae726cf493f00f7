"""What a recipe of distribution matching cannot be is refused."""

from dataclasses import replace

import pytest

from unnoise.distill.match_options import MatchOptions
from unnoise.distill.recipe import DistillRecipe
from unnoise.errors import InputError
from unnoise.train.fit_options import FitOptions

RECIPE = DistillRecipe("fast", "plane", FitOptions(9), steps=(2,), match=MatchOptions())


def test_several_numbers_of_calls_without_the_end_of_a_jump_share_a_first_call_that_is_matched() -> None:
    """DMD2: the first call is matched for all of them alike, and has no target of its own."""
    replace(RECIPE, steps=(2, 4), match=MatchOptions(anchor=0, end=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": (1, 2), "match": MatchOptions(end=False)}, "match.end is false, so that the first calls"),
        ({"steps": (1, 2), "match": MatchOptions(anchor=0, end=False)}, "match.end is false, so that the first calls"),
        (
            {"steps": (2, 4), "match": MatchOptions(end=False)},
            r"steps \[2, 4\]: match.end is false, so that the first calls",
        ),
        ({"steps": (1,)}, "match.anchor 0.05: is of the first of several calls"),
        ({"steps": (5,)}, "match.grid has levels for at most 4 calls"),
    ],
)
def test_a_recipe_that_cannot_act_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RECIPE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchor": -1.0}, "match.anchor -1.0: a number from 0 to 100"),
        ({"anchor_steps": 0}, "match.anchor_steps 0"),
        ({"fake_updates": 0}, "match.fake_updates 0"),
        ({"fake_learning_rate": 0.0}, "match.fake_learning_rate 0"),
        ({"shift": 0.0}, "match.shift 0"),
        ({"levels": (0.5, 0.2)}, r"match.levels \[0.5, 0.2\]: two numbers between 0 and 1, ascending"),
        ({"levels": (0.0, 0.9)}, "match.levels"),
        ({"grid": (1.0, 2.0)}, "match.grid"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MatchOptions(**changes)  # type: ignore[arg-type]
