"""The engine: what is missing is refused, what crashes is reported, what is allowed by a comment is silent."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import unnoise
from unnoise.check.apply_fixes import apply_fixes
from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.report.machine import to_github, to_json, to_sarif
from unnoise.check.report.text import WIDEST, render, summary, where
from unnoise.check.rule import WARN, Finding, Fix, Rewrite, Rule, RuleEntry
from unnoise.check.subject import Location, Subject
from unnoise.errors import InputError

RULE = Rule("UN001", "test-rule", WARN)
TEXT = 'x = 1\npipe("é", guidance_scale=20)  # {comment}\n'
PLACE = Location("a.py", line=2, column=25, end_line=2, end_column=27)
FOUND = Finding(RULE, PLACE, "guidance is too high", "guidance 20", "4 to 8", "write 7")


def subject(comment: str = "") -> Subject:
    return Subject(path="a.py", texts={"a.py": TEXT.replace("{comment}", comment)})


def entry(*found: Finding, error: Exception | None = None) -> RuleEntry:
    module = ModuleType("rule")

    def check(_: Subject) -> Iterator[Finding]:
        yield from found
        if error:
            raise error

    module.check = check  # type: ignore[attr-defined]
    return RuleEntry(RULE, module)


def test_a_crash_in_a_rule_is_a_finding_and_the_others_still_run() -> None:
    found = judge(subject(), [entry(error=KeyError("oops")), entry(FOUND)])
    assert [finding.rule.id for finding in found] == ["UN904", "UN001"]
    assert "UN001 test-rule: KeyError: 'oops'" in found[0].message + found[0].measured


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        ("", True),
        ("unnoise: ignore", False),
        ("unnoise: ignore[UN001]", False),
        ("unnoise: ignore[UN002, test-rule]", False),
        ("unnoise: ignore[UN002]", True),
        ("noqa", True),
    ],
)
def test_comments_allow_findings(comment: str, shown: bool) -> None:
    assert bool(judge(subject(comment), [entry(FOUND)])) == shown


def test_changes_are_written_in_the_notation_of_the_file() -> None:
    fix = Fix("safe", "write 7", (Rewrite(PLACE, 7.0),))
    assert apply_fixes(subject(), [fix]) == {"a.py": TEXT.replace("20", "7").replace("{comment}", "")}
    assert apply_fixes(subject(), [fix, fix]) == apply_fixes(subject(), [fix]), (
        "of two changes at one place, one counts"
    )
    config = Subject(path="c.json", texts={"c.json": '{"a": {"b": false}}'})
    change = Fix("safe", "write true", (Rewrite(Location("c.json", ("a", "b")), True),))
    assert apply_fixes(config, [change]) == {"c.json": '{"a": {"b": true}}'}
    lines = Subject(path="t.toml", texts={"t.toml": "[a]\nb = 'x' # c\n"})
    change = Fix("safe", "write y", (Rewrite(Location("t.toml", ("a", "b")), "y"),))
    assert apply_fixes(lines, [change]) == {"t.toml": "[a]\nb = 'y' # c\n"}


def test_notation_is_that_of_the_text_and_not_of_its_name() -> None:
    config = Subject(path="config", texts={"config": '{"a": true}'})
    change = Fix("unsafe", "write false", (Rewrite(Location("config", ("a",)), False),))
    assert apply_fixes(config, [change]) == {"config": '{"a": false}'}
    command = Subject(path="run", texts={"run": "python train.py --a 'x y'\n"})
    place = Location("run", line=1, column=20, end_line=1, end_column=25)
    assert apply_fixes(command, [Fix("safe", "", (Rewrite(place, "p q"),))]) == {"run": "python train.py --a 'p q'\n"}
    made = script("import diffusers\nx = True\n", path="make")
    place = Location("make", line=2, column=4, end_line=2, end_column=8)
    assert apply_fixes(made, [Fix("safe", "", (Rewrite(place, False),))]) == {"make": "import diffusers\nx = False\n"}


def test_impossible_file_names_are_refused(tmp_path: Path) -> None:
    for name in ("x" * 400, "a\0b", "a" * 5000, "..", "/etc/passwd"):
        path = tmp_path / "w.json"
        nodes = {
            "3": {"class_type": "KSampler", "inputs": {"model": ["4", 0]}},
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": f"{name}.safetensors"}},
        }
        path.write_text(json.dumps(nodes))
        assert unnoise.check(path) == []
    with pytest.raises(InputError, match="no such file"):
        unnoise.check("y" * 400)


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.json").write_text("{}")
    listing = os.scandir

    def scandir(path: Path) -> object:
        if Path(path) == inner:
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (found,) = unnoise.check(tmp_path)
    assert (found.rule.id, found.place.path) == ("UN901", str(inner))


def test_a_path_that_is_named_twice_is_checked_once(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    assert len(unnoise.check([path, path])) == 1


def test_text_shows_the_line_and_marks_the_value() -> None:
    shown = render(replace(FOUND, fix=Fix("unsafe", "write 7.0")), subject().texts["a.py"])
    assert shown.splitlines() == [
        "a.py:2:26: UN001 warning: guidance is too high: guidance 20, expected 4 to 8",
        '  2 | pipe("é", guidance_scale=20)  # ',
        "    |                          ^^",
        "  = write 7 [--fix --unsafe: write 7.0]",
    ]


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("x" * 400, "20", "y" * 400),
        ("x" * 400, "20", ")"),
        ("x = (", "20", "y" * 400),
        ("x" * 90, "20", "y" * 90),
        ("x" * 90, "z" * 300, "y" * 90),
        ("", "z" * 300, ""),
        ("x" * 300, "", ""),
    ],
)
def test_a_long_line_is_cut_around_the_value(before: str, value: str, after: str) -> None:
    place = Location("a.py", (), 1, len(before), 1, len(before) + len(value))
    _, line, marks, _ = render(replace(FOUND, place=place), before + value + after).splitlines()
    start, shown = marks.index("^"), line.removeprefix("  1 | ")
    assert len(shown) <= WIDEST
    assert shown.startswith("…") or (before + value + after).startswith(shown.removesuffix("…"))
    marked = line[start : start + marks.count("^")]
    assert marked == value or (marked.endswith("…") and value.startswith(marked[:-1])) or not value
    assert before.endswith(line[len("  1 | ") : start].removeprefix("…"))


def test_a_line_that_fits_is_whole() -> None:
    assert (
        render(FOUND, f"\n{'x' * 24}(20{' ' * (WIDEST - 27)}").splitlines()[1]
        == f"  2 | {'x' * 24}(20{' ' * (WIDEST - 27)}"
    )


def test_marks_are_below_the_value_behind_an_escaped_character() -> None:
    text = "\n" + 'pipe("\x1b", guidance_scale=20)'
    column = text.index("20") - 1
    _, line, marks, _ = render(replace(FOUND, place=Location("a.py", (), 2, column, 2, column + 2)), text).splitlines()
    assert line[marks.index("^") :].startswith("20)")


def test_places_without_lines_are_named_by_their_keys() -> None:
    assert where(Location("w.png", ("3", "inputs", "cfg"))) == "w.png: 3.inputs.cfg"


def test_summary_counts() -> None:
    assert summary([], 1, 0.123) == "Nothing found: 1 file checked in 0.12 s."
    fixes = [Fix("safe", ""), Fix("unsafe", ""), None]
    line = "Found 3 warnings: 2 files checked in 1.00 s. --fix mends 1, --fix --unsafe mends 1 more."
    assert summary([replace(FOUND, fix=fix) for fix in fixes], 2, 1.0) == line


def test_machine_formats_contain_the_place_and_the_numbers() -> None:
    real = judge(Subject(path="a.ckpt"), [entry(Finding(unreadable(), PLACE, "a\nb", "1", "2", "c"))])
    one = json.loads(to_json(real, 1))["findings"][0]
    assert (one["rule"], one["line"], one["column"], one["severity"]) == ("UN901", 2, 26, "warning")
    result = json.loads(to_sarif(real))["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 2,
        "startColumn": 26,
        "endLine": 2,
        "endColumn": 28,
    }
    assert to_github(real).startswith("::warning file=a.py,line=2,endLine=2,col=26,title=UN901 unreadable::")


def unreadable() -> Rule:
    return Rule("UN901", "unreadable", WARN)


def test_the_call_takes_paths_and_subjects(tmp_path: Path) -> None:
    path = tmp_path / "make.py"
    path.write_text("from diffusers import FluxPipeline\npipe = FluxPipeline.from_pretrained(\n")
    assert [finding.rule.id for finding in unnoise.check(path)] == ["UN901"]
    assert [finding.place.line for finding in unnoise.check([path], select=["UN9"])] == [2]
    assert unnoise.check(path, ignore=["UN901"]) == []
    assert unnoise.check(script("x = 1")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json"], "nothing.json: no such file or folder"),
        (["."], ".: contains nothing to check"),
        (["a.json", "--select", "UN4x"], "select 'UN4x'"),
        (["a.json", "--ignore", "guidence-above-range"], "did you mean 'guidance-above-range'"),
        (["a.json", "--unsafe"], "--unsafe: only together with --fix"),
        (["a.json", "--models", "nowhere"], "nowhere: no such"),
        ([], "name at least one file"),
    ],
)
def test_wrong_requests_are_one_line_and_exit_with_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "a.json").write_text("{}") if "a.json" in arguments else None
    done = subprocess.run(
        [sys.executable, "-m", "unnoise", "check", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
