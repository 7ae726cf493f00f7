"""What a request to a student says that goes beyond its training: once in Python, and once on the command line."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from unnoise.card import Advice, Card, Distilled, Part, Setting
from unnoise.check.engine import judge
from unnoise.check.read.recipe import read_request
from unnoise.cli.main import main
from unnoise.errors import CheckedWarning, InputError
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.pipeline import Pipeline

LEVELS = {1: (0.0,), 2: (1.8, 0.0), 4: (5.0, 1.8, 0.6, 0.0)}
CARD = replace(
    tiny.CARD,
    name="fast",
    net=Part("UNet", tiny.CARD.net.args | {"guidance": True}),
    advice=Advice(
        steps=2,
        sizes=((16, 16),),
        distilled_guidance=3.0,
        fitted=tuple(Setting(Part("Consistency"), levels, 1.0) for levels in LEVELS.values()),
    ),
    distilled=Distilled("consistency", "slow", "51" * 32, (1.0, 5.0), (1, 2, 4)),
)
FOLDED = replace(
    CARD, net=tiny.CARD.net, advice=replace(CARD.advice, distilled_guidance=None), distilled=CARD.distilled
)


@pytest.fixture(scope="module")
def student() -> Pipeline:
    return tiny.pipeline(CARD)


def said(pipeline: Pipeline, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        resolve(request_of(("abc",), **options), pipeline)
    return [str(one.message) for one in caught if issubclass(one.category, CheckedWarning)]


@pytest.mark.parametrize(
    "options", [{}, {"steps": 1}, {"steps": 4}, {"sampler": "lcm", "schedule": (float("inf"), 1.8, 0.0)}]
)
def test_nothing_is_said_of_what_it_was_trained_for(student: Pipeline, options: dict[str, object]) -> None:
    assert said(student, **options) == []
    assert not judge(read_request(request_of(("abc",), **options), CARD, "fast"))


@pytest.mark.parametrize(
    ("options", "line", "rule"),
    [
        ({"steps": 3}, "steps 3: 'fast' was trained for 1, 2, 4 steps; use one of them, or 'slow'", "UN125"),
        ({"steps": 20}, "steps 20: 'fast' was trained for 1, 2, 4 steps; use one of them, or 'slow'", "UN125"),
        ({"sampler": "euler-a"}, "sampler 'euler-a': 'fast' was trained with the sampler and the levels", "UN126"),
        ({"schedule": "angle"}, "schedule 'angle': 'fast' was trained with the sampler and the levels", "UN126"),
        ({"sampler": "lcm", "schedule": (float("inf"), 2.5, 0.0)}, "sampler 'lcm' and schedule (inf, 2.5", "UN126"),
        ({"distilled_guidance": 9.0}, "distilled_guidance 9: 'fast' was trained on 1 to 5; use one of these", "UN411"),
        (
            {"guidance_scale": 3.0, "negative_prompt": "b"},
            "guidance_scale 3: 'fast' predicts the guided image already; use 1, and distilled_guidance 1 to 5",
            "UN402",
        ),
    ],
)  # fmt: skip
def test_what_goes_beyond_it_is_said(student: Pipeline, options: dict[str, object], line: str, rule: str) -> None:
    lines = said(student, **options)
    assert len(lines) == 1, lines
    assert lines[0].startswith(line)
    found = {one.rule.id for one in judge(read_request(request_of(("abc",), **options), CARD, "fast"))}
    assert found == {rule}


def test_guidance_that_is_folded_in_is_said_to_be() -> None:
    line = "guidance_scale 3: 'fast' predicts the guided image already; use 1"
    assert said(tiny.pipeline(FOLDED), guidance_scale=3.0) == [line]
    with pytest.raises(InputError, match="has no such input"):
        said(tiny.pipeline(FOLDED), distilled_guidance=3.0)


def test_the_levels_of_an_edit_are_its_own(student: Pipeline) -> None:
    image = student.generate("abc", seed=1, progress=False)[0].image
    assert said(student, image=image, strength=0.5) == []


def test_other_models_are_left_alone() -> None:
    assert said(tiny.pipeline(), steps=7, sampler="euler-a", guidance_scale=6.0) == []


def test_the_command_line_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.saved(tmp_path / "fast.safetensors", **_changes(CARD))
    out = tmp_path / "a.png"
    assert main(["generate", "abc", "-m", str(tmp_path / "fast.safetensors"), "--steps", "3", "-o", str(out)]) == 0
    assert out.exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if "trained for" in line]
    assert len(lines) == 1, lines
    assert "UN125" in lines[0]


def _changes(card: Card) -> dict[str, object]:
    return {name: getattr(card, name) for name in ("name", "net", "advice", "distilled")}
