"""JSON becomes a dataclass exactly, or is refused with the field named."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, strategies as st

from unnoise.errors import InputError
from unnoise.formats.strict_json import Strict, dump, parse


@dataclass(frozen=True, slots=True)
class Inner(Strict):
    class_: str
    pair: tuple[int, float] = (1, 2.0)


@dataclass(frozen=True, slots=True)
class Outer(Strict):
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] = "a"
    level: float | Literal["inf"] = 0.0
    flag: bool = False
    count: int = 0
    table: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InputError(f"count {self.count}: 0 or more")


FULL = Outer("n", Inner("c", (3, 0.5)), (Inner("d"), Inner("e")), "b", "inf", True, 7, {"x": [1, {"y": None}]})


def test_round_trip() -> None:
    assert parse(Outer, dump(FULL), "here") == FULL
    assert parse(Outer, '{"name": "n"}', "here") == Outer("n")
    assert json.loads(dump(FULL))["inner"]["class"] == "c"


def test_whole_numbers_are_floats_too() -> None:
    level = parse(Outer, '{"name": "n", "level": 3}', "here").level
    assert (level, type(level)) == (3.0, float)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Expecting value"),
        ("[]", r"\[\], expected an object"),
        ("{}", "'name' is missing"),
        ('{"name": 1}', "name: 1, expected a string"),
        ('{"name": "n", "nme": 1}', "unknown field 'nme': did you mean 'name'. known: count, flag"),
        ('{"name": "n", "inner": {"class_": "c"}}', "unknown field 'inner.class_': did you mean 'class'"),
        ('{"name": "n", "inner": {}}', "'inner.class' is missing"),
        ('{"name": "n", "inner": []}', r"inner: \[\], expected an object or null"),
        ('{"name": "n", "inner": {"class": "c", "pair": [1]}}', "inner.pair: .*2 values"),
        ('{"name": "n", "inner": {"class": "c", "pair": [1.0, 2]}}', r"inner.pair\[0\]: 1.0, expected an integer"),
        ('{"name": "n", "many": {}}', "many: {}, expected a list"),
        ('{"name": "n", "many": [{"class": "c"}, 3]}', r"many\[1\]: 3, expected an object"),
        ('{"name": "n", "kind": "c"}', 'kind: \'c\', expected "a" or "b"'),
        ('{"name": "n", "level": "nan"}', "level: 'nan', expected a finite number or \"inf\""),
        ('{"name": "n", "level": true}', "level: True"),
        ('{"name": "n", "level": 1e999}', "1e999 is not a finite number"),
        ('{"name": "n", "level": NaN}', "NaN is not a JSON number"),
        ('{"name": "n", "level": -Infinity}', "-Infinity is not a JSON number"),
        ('{"name": "n", "flag": 1}', "flag: 1, expected true or false"),
        ('{"name": "n", "count": true}', "count: True, expected an integer"),
        ('{"name": "n", "count": -1}', "count -1: 0 or more"),
        ('{"name": "n", "count": ' + "9" * 5000 + "}", "number of 5000 digits"),
        ('{"name": "n", "table": {"a": 1, "a": 2}}', "field 'a' is given twice"),
        ('{"name": "n", "name": "m"}', "field 'name' is given twice"),
        ('{"name": "n", "table": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}", "nested too deeply"),
    ],
)
def test_refuses(text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault) as refusal:
        parse(Outer, text, "here")
    assert str(refusal.value).startswith("here: ")
    assert "\n" not in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*Outer.__dataclass_fields__, "other"]), JSON))
def test_anything_is_read_or_refused(content: dict[str, object]) -> None:
    try:
        made = parse(Outer, json.dumps({"name": "n"} | content), "here")
    except InputError:
        return
    assert parse(Outer, dump(made), "here") == made
