"""The recipe of a distillation: what is refused, and the levels that a number of calls has."""

import textwrap
from pathlib import Path

import pytest

from unnoise.cli.distill import EPILOGUE
from unnoise.distill.method_options import spread_evenly
from unnoise.distill.recipe import METHODS, DistillRecipe, read_distill_recipe
from unnoise.errors import InputError

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "distill").glob("*.toml"))
PLAIN = """
name = "fast"
teacher = "emoji"
data = { source = "emoji" }
fit = { steps = 8 }
"""


def read(tmp_path: Path, text: str) -> DistillRecipe:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_distill_recipe(path)


def test_a_recipe_has_the_defaults_of_its_method(tmp_path: Path) -> None:
    recipe = read(tmp_path, PLAIN + "[consistency]")
    assert recipe.method == "consistency"
    assert recipe.steps == (1, 2, 4)
    assert [recipe.options.sampling(steps)[1] for steps in recipe.steps] == [(0.0,), (1.6, 0.0), (5.0, 1.6, 0.4, 0.0)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", r"method missing: exactly one table \[consistency\]"),
        ("steps = [1, 8]\nconsistency = {}", "steps .1, 8.: consistency.grid has levels for at most 4 calls"),
        ("steps = [2, 1]\nconsistency = {}", "ascending"),
        ("steps = []\nconsistency = {}", "one or more"),
        ("guidance = [5, 1]\nconsistency = {}", "the smallest scale first"),
        ("guidance = [0, 2]\nconsistency = {}", "guidance 0.0: a number from 0.1 to 100"),
        ("guidance = [1, 2]\nconsistency = { teacher = false }", "consistency.teacher is false"),
        ("consistency = { grid = [1.0, 2.0] }", "descending"),
        ("consistency = { gap = 1 }", "consistency.gap"),
        ("[fit]\nsteps = 8\nshard = true\n[consistency]", "fit.shard true"),
        ("consistency = { rate = 1 }", "unknown field 'consistency.rate'"),
    ],
)
def test_a_wrong_recipe_is_refused(more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, more + PLAIN if "[fit]" not in more else PLAIN.replace("fit = { steps = 8 }", more))


@pytest.mark.parametrize(("count", "found"), [(0, ()), (1, (3,)), (2, (2, 4)), (4, (1, 2, 4, 5)), (5, (1, 2, 3, 4, 5))])
def test_levels_are_spread_evenly(count: int, found: tuple[float, ...]) -> None:
    assert spread_evenly((1, 2, 3, 4, 5), count) == found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_recipes(path: Path) -> None:
    assert read_distill_recipe(path).name == path.stem.replace("-lora", "-fast")


def test_every_method_has_a_recipe() -> None:
    assert {read_distill_recipe(path).method for path in RECIPES} == {*METHODS}


@pytest.mark.parametrize("where", ["the page", "the help"])
def test_the_recipes_that_are_shown_are_recipes(where: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")
    found = {
        "the page": page.partition("```toml\n")[2].partition("```")[0],
        "the help": EPILOGUE.partition("A small recipe:\n")[2].partition("What happens:")[0],
    }
    recipe = read(tmp_path, textwrap.dedent(found[where]))
    assert (recipe.teacher, recipe.guidance, recipe.steps) == ("emoji", (1.0, 5.0), (1, 2, 4))
