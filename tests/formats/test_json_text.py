"""JSON and TOML of unknown origin are parsed within bounds, or refused in words."""

from pathlib import Path

import pytest
from clock import within

from unnoise.errors import InputError
from unnoise.formats.json_text import DEPTH, json_object, json_value, leaves, plain_toml, read_json, toml_table


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deeply"),
        ("9" * 41, "number of 41 digits"),
        ("9" * 5000, "number of 5000 digits"),
        ("1." + "9" * 5000, "number of 5002 digits"),
        ("1e999", "not a finite number"),
        ("NaN", "not a JSON number"),
        ("-Infinity", "not a JSON number"),
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ("{", "Expecting"),
    ],
)
def test_json_is_bounded(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        json_value(text)


def test_json_of_other_tools_has_nan_and_repeated_keys() -> None:
    assert json_object('{"a": 1, "a": Infinity}', strict=False) == {"a": float("inf")}
    with pytest.raises(ValueError, match="nested too deeply"):
        json_value("[" * 1000 + "]" * 1000, strict=False)
    assert json_value("[" * DEPTH + "]" * DEPTH)


def test_a_file_must_be_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"a\.json: not a JSON object$"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = " + "[" * 200 + "]" * 200, "nested too deeply"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 41, "about 41 digits"),
        ("a = " + "9" * 5000, "more than 40 digits"),
        ("a = 1." + "9" * 5000, "digits"),
        (".".join(["a"] * 40_000) + " = 1", "a key of more than 64 parts"),
        ("x = {" + ".".join(["a"] * 40_000) + " = 1}", "a key of more than 64 parts"),
        ("[" + ".".join(["a"] * 40_000) + "]", "a key of more than 64 parts"),
        ("a = 1\n" * 200_000, "letters, at most"),
        ("a = ", "Invalid value"),
    ],
)
def test_toml_is_bounded_in_linear_time(text: str, fault: str) -> None:
    with within(30), pytest.raises(ValueError, match=fault):
        toml_table(text)


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "inf", "-nan"])
def test_a_value_that_json_lacks_is_refused_with_its_field(value: str) -> None:
    assert toml_table(f"a = {value}")
    with pytest.raises(ValueError, match=r"^b\.c\[1\]: "):
        plain_toml(f"[b]\nc = [1, {value}]")


def test_dots_in_a_text_are_no_key() -> None:
    assert toml_table(f'a = "{"." * 500}"')["a"] == "." * 500
    assert dict(leaves({"a": [1, {"b": 2}], "c": 3})) == {"a[0]": 1, "a[1].b": 2, "c": 3}
