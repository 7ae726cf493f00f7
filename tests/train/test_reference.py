"""The page of the fields of a recipe: it is up to date, every field is explained, and a stated range is enforced."""

import json
import re
import runpy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest

from unnoise.card import Advice
from unnoise.distill.recipe import DistillRecipe
from unnoise.errors import InputError
from unnoise.formats.strict_json import Strict, parse
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.finetune_recipe import FineTuneOptions, FineTuneRecipe
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.reference import part_classes, recipe_fields, stated, summary, tables, type_name, written

ROOT = Path(__file__).resolve().parents[2]
RECIPES = (TrainingRecipe, FineTuneRecipe, AdapterRecipe, DistillRecipe)
TABLES = dict.fromkeys(kind for recipe in RECIPES for _, kind in tables(recipe))
PARTS = [kind for role in ("net", "process", "autoencoder", "text") for kind in part_classes(role).values()]


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "recipe_page.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["page"](), "run `make recipes`"
    assert {"UNet", "DiT", "Flow", "VP", "VE", "EDM", "Autoencoder"} <= {
        *re.findall(r"^### (\w+)$", page, re.MULTILINE)
    }


@pytest.mark.parametrize("kind", [*TABLES, *PARTS], ids=lambda kind: kind.__name__)
def test_every_field_says_what_it_means(kind: type) -> None:
    assert not [one.name for one in recipe_fields(kind) if len(one.meaning) < 3]
    assert not set(stated(kind)) - {one.name for one in recipe_fields(kind)} - {one.name for one in named(kind)}
    assert summary(kind)


def named(kind: type) -> tuple[Any, ...]:
    return fields(kind) if kind in TABLES else ()


@dataclass(frozen=True)
class Inner(Strict):
    """A table."""

    value: int = 3


@dataclass(frozen=True)
class Example(Strict):
    """An example of a table. It has every kind of field.

    Args:
        count: images, 1 to 9.
        low, high: ends of a range, above 0; both
            are needed.
        mode: how.
        inner: a table.
        sides: widths and heights, each a multiple of 8.
        given: a share: at least 0.5.

    Source: nobody.
    """

    count: int
    low: float
    high: float
    mode: Literal["a", "b"] | bool = "a"
    inner: Inner | None = None
    sides: tuple[tuple[int, int], ...] = ((8, 16),)
    given: float | None = None


def test_fields_are_read_from_a_dataclass() -> None:
    found = {one.name: (one.kind, one.range, one.default, one.meaning) for one in recipe_fields(Example)}
    assert found == {
        "count": ("integer", "1 to 9", "needed", "images, 1 to 9"),
        "low": ("number", "above 0", "needed", "ends of a range, above 0; both are needed"),
        "high": ("number", "above 0", "needed", "ends of a range, above 0; both are needed"),
        "mode": ("text or true or false", '"a", "b"', '"a"', "how"),
        "inner": ("table", "", "none", "a table"),
        "sides": (
            "list of list of integer",
            "a multiple of 8",
            "[[8, 16]]",
            "widths and heights, each a multiple of 8",
        ),
        "given": ("number", "at least 0.5", "none", "a share: at least 0.5"),
    }
    assert summary(Example) == "An example of a table. It has every kind of field."
    assert [*tables(Example, "here")] == [("here", Example), ("here.inner", Inner)]
    assert (type_name(dict[str, Any]), type_name(Any)) == ("table", "any value")


def test_values_are_written_as_toml() -> None:
    value = {"a": [1, 2.5, 1e-4], "b": 'x "y" é', "c": {"d": True}, "e": {}}
    assert written(value) == '{ a = [1, 2.5, 0.0001], b = "x \\"y\\" é", c = { d = true }, e = {} }'


def beyond(range: str) -> list[float]:
    """Return numbers that a stated range does not allow."""
    numbers = [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", range)]
    if " to " in range:
        return [numbers[0] - 1, numbers[-1] + 1]
    return [numbers[0] - 1] if "at least" in range else [numbers[0]] if "above" in range else [numbers[0] + 1]


RANGED = [
    (kind, one.name, value)
    for kind in TABLES
    if kind is not Advice  # which `resolve` checks, with the model
    for one in recipe_fields(kind)
    if re.match(r"at least|above|at most|-?\d", one.range) and one.kind in ("integer", "number")
    for value in beyond(one.range)
]


@pytest.mark.parametrize(("kind", "name", "value"), RANGED, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_stated_range_is_enforced(kind: Any, name: str, value: float) -> None:
    smallest: dict[str, dict[str, Any]] = {
        "FitOptions": {"steps": 9}, "DataOptions": {"source": "emoji"}, "AutoencoderOptions": {"fit": {"steps": 9}},
        "DenoiserOptions": {"fit": {"steps": 9}, "net": {"class": "UNet"}, "process": {"class": "Flow"}},
        "FineTuneOptions": {"init": "sd", "fit": {"steps": 9}},
        "FineTuneRecipe": {"name": "a", "data": {"source": "emoji"}, "denoiser": {"init": "sd", "fit": {"steps": 9}}},
        "PriorOptions": {"prompts": ["a"]},
        "AdapterRecipe": {"name": "a", "data": {"source": "emoji"}, "fit": {"steps": 9}, "lora": {}},
        "DistillRecipe": {
            "name": "a", "teacher": "emoji", "data": {"source": "emoji"}, "fit": {"steps": 9}, "consistency": {},
        },
    }  # fmt: skip
    whole = {one.name: one.kind for one in recipe_fields(kind)}[name] == "integer"
    given = smallest.get(kind.__name__, {})
    wrong = given | {name: int(value) if whole else value}
    if kind is FineTuneOptions:  # which its recipe checks
        kind, given = FineTuneRecipe, smallest["FineTuneRecipe"]
        wrong = given | {"denoiser": wrong}
    parse(kind, json.dumps(given), "recipe")
    with pytest.raises(InputError, match=name):
        parse(kind, json.dumps(wrong), "recipe")
