"""Keys to lines and columns: what is found is the value that the parser of the standard library gives."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from unnoise.check.locate import json_span, locate, toml_span
from unnoise.check.subject import Location

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def places(value: Any, keys: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """List every value within a value, with its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(keys, value)] + [found for key, item in inner for found in places(item, (*keys, key))]


@given(VALUES, st.sampled_from([None, 2]))
def test_json_span_is_that_of_the_value(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    for keys, inner in places(value):
        start, end = json_span(text, keys) or (0, 0)
        assert json.loads(text[start:end]) == inner


@pytest.mark.parametrize("keys", [("b",), ("a", 7), ("a", "x"), (0,)])
def test_json_span_of_nothing(keys: tuple[str | int, ...]) -> None:
    assert json_span('{"a": [1, 2]}', keys) is None


def test_json_line_and_column() -> None:
    text = '{\n  "3": {"inputs": {\n    "cfg": 8.0}}}'
    found = locate(Location("w.json", ("3", "inputs", "cfg")), text)
    assert (found.line, found.column, found.end_line, found.end_column) == (3, 11, 3, 14)


TOML = """# comment
steps = 10
[general]
"shuffle" = true   # yes
[[datasets]]
resolution = 512
  [[datasets.subsets]]
  image_dir = 'a # b'
  [[datasets.subsets]]
  image_dir = "c"
[[datasets]]
resolution = 1_024
"""


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("steps",), 10),
        (("general", "shuffle"), True),
        (("datasets", 0, "resolution"), 512),
        (("datasets", 0, "subsets", 0, "image_dir"), "a # b"),
        (("datasets", 0, "subsets", 1, "image_dir"), "c"),
        (("datasets", 1, "resolution"), 1024),
    ],
)
def test_toml_span_is_that_of_the_value(keys: tuple[str | int, ...], value: Any) -> None:
    start, end = toml_span(TOML, keys) or (0, 0)
    assert tomllib.loads(f"x = {TOML[start:end]}")["x"] == value


def test_a_place_with_a_line_stays() -> None:
    place = Location("a.py", line=3, column=1)
    assert locate(place, "{}") is place
