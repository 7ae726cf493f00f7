"""Read the settings of a YAML file as people write it, each with its line; what is not a plain setting is left out.

`formats/yaml_subset.py` refuses what it does not know, since its values become those of a model. Here a part that is
not understood, such as a text over several lines, hides no other.
Source: YAML 1.2.2, chapters 6 (indentation, comments), 7 (flow style) and 8 (block style).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from unnoise.check.read.flat import KEYS, Settings
from unnoise.check.read.shell.arguments import number_or_text
from unnoise.check.subject import Located, Location

LONGEST = 1 << 18  # characters that are read
DEEPEST = 32  # tables in each other
KEY = re.compile(r"(\"[^\"]*\"|'[^']*'|[\w.][\w .-]{0,199}?)\s*:(?=\s|$)")
TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'")
COMMENT = re.compile(r"\s+#.*$|\s+$")
WORDS: dict[str, object] = {"null": None, "~": None, "true": True, "false": False, "yes": True, "no": False}


@dataclass(slots=True)
class _Table:
    """Hold an open table or list: its indentation and keys, and of a list how many items it has."""

    indent: int
    keys: tuple[str | int, ...]
    items: int = 0


@dataclass(slots=True)
class _YamlState:
    """Hold what is read so far.

    Args:
        path: of the file
        found: the settings
        tables: those that are open
        skipped: lines of more than this indentation are a text; negative where there is none
    """

    path: str
    found: Settings = field(default_factory=dict)
    tables: list[_Table] = field(default_factory=lambda: [_Table(-1, ())])
    skipped: int = -1


def yaml_settings(text: str, path: str) -> Settings:
    """Read the settings of a YAML text.

    Args:
        text: of the file
        path: of the file

    Returns:
        at most 2,000 values under their dotted keys, such as "config.process.0.train.lr", with lines and columns;
        a list of plain values is one value
    """
    state = _YamlState(path)
    for number, line in enumerate(text[:LONGEST].splitlines(), 1):
        body = line.lstrip(" ")
        if body and body[0] != "#" and len(state.found) < KEYS:
            _read(state, line, len(line) - len(body), number)
    return state.found


def _read(state: _YamlState, line: str, indent: int, number: int) -> None:
    """Read one line."""
    if state.skipped >= 0 and indent > state.skipped:
        return
    state.skipped = -1
    at = indent
    while line[at : at + 2] in ("- ", "-"):
        table = _table_at(state, at, item=True)
        keys: tuple[str | int, ...] = (*table.keys, table.items)
        table.items += 1
        rest = at + 1 + len(line[at + 1 :]) - len(line[at + 1 :].lstrip(" "))
        if len(state.tables) < DEEPEST:
            state.tables.append(_Table(at + 1, keys))
        if not KEY.match(line, rest) and line[rest : rest + 2] not in ("- ", "-"):
            _append(state, table.keys, _located(state, keys, line, rest, number))
            return
        at = rest
    match = KEY.match(line, at)
    if match is None:
        return
    keys = (*_table_at(state, at).keys, match[1].strip("\"'"))
    start = match.end() + len(line[match.end() :]) - len(line[match.end() :].lstrip(" "))
    value = COMMENT.sub("", line[start:])
    if value == "" or value[0] == "#":
        if len(state.tables) < DEEPEST:
            state.tables.append(_Table(at, keys))
        return
    if value[0] in "|>":
        state.skipped = indent
        return
    state.found[".".join(map(str, keys))] = _located(state, keys, line, start, number)


def _table_at(state: _YamlState, indent: int, item: bool = False) -> _Table:
    """Close the tables that end before an indentation, and return the one that it belongs to.

    A list may stand at the indentation of its name.
    """
    while len(state.tables) > 1 and (
        state.tables[-1].indent > indent or (state.tables[-1].indent == indent and not item)
    ):
        state.tables.pop()
    return state.tables[-1]


def _append(state: _YamlState, keys: tuple[str | int, ...], item: Located[Any]) -> None:
    """Add a plain item to the list at some keys, whose place reaches from its first item to its last."""
    name = ".".join(map(str, keys))
    before = state.found.get(name)
    if before is None or not isinstance(before.value, list):
        state.found[name] = Located([item.value], replace(item.place, keys=keys))
    elif len(before.value) < KEYS:
        before.value.append(item.value)
        end = item.place
        place = replace(before.place, end_line=end.end_line, end_column=end.end_column)
        state.found[name] = Located(before.value, place)


def _located(state: _YamlState, keys: tuple[str | int, ...], line: str, start: int, number: int) -> Located[Any]:
    """Return the value that begins in a line, with its place."""
    quoted = TEXT.match(line, start)
    end = quoted.end() if quoted else start + len(COMMENT.sub("", line[start:]))
    return Located(_value(line[start:end]), Location(state.path, keys, number, start, number, end))


def _value(text: str) -> Any:
    if text[:1] == "[" and text[-1:] == "]":
        return [_value(part.strip()) for part in _parts(text[1:-1])]
    if TEXT.fullmatch(text):
        return re.sub(r"\\([\"\\/])", r"\1", text[1:-1]) if text[0] == '"' else text[1:-1].replace("''", "'")
    return WORDS[text.lower()] if text.lower() in WORDS else number_or_text(text)


def _parts(inside: str) -> Iterator[str]:
    """Split a list at its commas outside of texts."""
    at = 0
    for match in re.finditer(r"\"[^\"]*\"|'[^']*'|,", inside):
        if match.group() == ",":
            yield inside[at : match.start()]
            at = match.end()
    if inside[at:].strip():
        yield inside[at:]
