"""Find lines and columns in JSON and TOML texts from keys.

Readers store keys, because parsing with positions is slow and only a finding needs a line.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented

from unnoise.check.rule import Finding
from unnoise.check.subject import Location, Subject
from unnoise.formats.json_text import json_value

SPACE = re.compile(r"[ \t\n\r]*")
TABLE = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
SCALAR = re.compile(r"[-+.\w]+")
STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')


def located(finding: Finding, subject: Subject) -> Finding:
    """Add lines and columns to the place of a finding, where its text is known."""
    text = subject.texts.get(finding.place.path)
    return finding if text is None else replace(finding, place=locate(finding.place, text))


def locate(place: Location, text: str) -> Location:
    """Add lines and columns to a place: those of the value at its keys.

    Args:
        place: unchanged where it has lines, or its value is not found
        text: JSON or TOML

    Returns:
        the place
    """
    if place.line is not None or not place.keys:
        return place
    try:
        span = json_span(text, place.keys) if is_json(text) else toml_span(text, place.keys)
    except (ValueError, IndexError, RecursionError):
        return place
    return place if span is None else placed(place, text, *span)


def is_json(text: str) -> bool:
    """Return whether a text is an object or a list of JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json_value(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def placed(place: Location, text: str, start: int, end: int) -> Location:
    """Return a place with the lines and columns of a part of a text."""
    line, last = text.count("\n", 0, start) + 1, text.count("\n", 0, end) + 1
    column, end_column = start - (text.rfind("\n", 0, start) + 1), end - (text.rfind("\n", 0, end) + 1)
    return replace(place, line=line, column=column, end_line=last, end_column=end_column)


def json_span(text: str, keys: Sequence[str | int]) -> tuple[int, int] | None:
    """Find where the value at `keys` begins and ends in a JSON text.

    The parser of the standard library skips other values, so a text of a megabyte takes milliseconds.

    Args:
        text: valid JSON
        keys: from the root

    Returns:
        offsets in letters; None where there is no such value
    """
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    for key in keys:
        found = _in_object(text, at, key, decoder) if text[at] == "{" else _in_array(text, at, key, decoder)
        if found is None:
            return None
        at = found
    return at, decoder.raw_decode(text, at)[1]


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _in_object(text: str, at: int, key: str | int, decoder: json.JSONDecoder) -> int | None:
    at, found = _skip(text, at + 1), None
    while text[at] != "}":
        name, at = scanstring(text, at + 1)
        at = _skip(text, _skip(text, at) + 1)
        if name == key:
            found = at  # the last of repeated keys counts
        at = _next(text, decoder.raw_decode(text, at)[1])
    return found


def _in_array(text: str, at: int, key: str | int, decoder: json.JSONDecoder) -> int | None:
    if text[at] != "[" or not isinstance(key, int):
        return None
    at, index = _skip(text, at + 1), 0
    while text[at] != "]":
        if index == key:
            return at
        at, index = _next(text, decoder.raw_decode(text, at)[1]), index + 1
    return None


def _next(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def toml_span(text: str, keys: Sequence[str | int]) -> tuple[int, int] | None:
    """Find where the value of a key is in a TOML text.

    Args:
        text: valid TOML
        keys: from the root

    Returns:
        offsets in letters; None where the value is not on one line
    """
    counts: dict[tuple[str | int, ...], int] = {}
    prefix: tuple[str | int, ...] = ()
    at = 0
    for line in text.splitlines(keepends=True):
        table = TABLE.match(line)
        assigned = re.match(r"\s*([\w.\"'-]+)\s*=\s*", line)
        if table:
            prefix = _prefix(table[2].split("."), table[1] == "[[", counts)
        elif assigned and prefix + _bare(assigned[1].split(".")) == tuple(keys):
            start = at + assigned.end()
            return start, start + _value_length(text[start : at + len(line)])
        at += len(line)
    return None


def _bare(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in parts)


def _prefix(parts: Sequence[str], repeated: bool, counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """Return the keys of a table, with the index of every array of tables among them."""
    prefix: tuple[str | int, ...] = ()
    names = _bare(parts)
    for depth, name in enumerate(names, 1):
        prefix += (name,)
        if repeated and depth == len(names):
            counts[prefix] = counts.get(prefix, -1) + 1
        if prefix in counts:
            prefix += (counts[prefix],)
    return prefix


def _value_length(rest: str) -> int:
    match = STRING.match(rest) or SCALAR.match(rest)
    return match.end() if match else len(rest.split("#")[0].rstrip())
