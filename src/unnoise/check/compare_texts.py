"""Compare a text before and after a fix by its syntax: only the values that the fix names may differ."""

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from unnoise.check.locate import is_json
from unnoise.check.notebook import Notebook
from unnoise.check.read.notebook import read_notebook
from unnoise.check.read.python.parse import Unparsed, parse
from unnoise.check.rule import Rewrite
from unnoise.check.subject import Location, Subject
from unnoise.check.syntax import Places
from unnoise.formats.json_text import json_value, toml_table

Keys = tuple[str | int, ...]


def only_changes(subject: Subject, after: str, path: str, changes: Sequence[Rewrite]) -> bool:
    """Return whether two texts differ in nothing but changed values.

    Args:
        subject: before
        after: the text of a file after a fix; of a notebook its JSON
        path: of the file
        changes: of the fix, in this file

    Returns:
        False also where the text cannot be read any more
    """
    try:
        if subject.script is not None:
            return _of_python(subject, after, path, [change.place for change in changes])
        before = subject.texts[path]
        if is_json(before) or path.endswith(".toml"):
            old, new = (json_value(text, False) if is_json(before) else toml_table(text) for text in (before, after))
            return set(_differing_keys(old, new, ())) <= {change.place.keys for change in changes}
        return _of_words(before, after) <= len(changes)
    except (ValueError, RecursionError, Unparsed):
        return False


def _of_python(subject: Subject, after: str, path: str, places: Sequence[Location]) -> bool:
    if subject.script is None:
        return False
    tree = subject.script.tree
    if subject.notebook is not None:
        other = read_notebook(after, path)
        if other.script is None or other.notebook is None or not _same_around(subject.notebook, other.notebook):
            return False
        new = other.script.tree
    else:
        new = parse(after)
    at = Places(path, subject.script.lines)
    return all(node is not None and any(_within(at.at(node), place) for place in places) for node in _nodes(tree, new))


def _same_around(before: Notebook, after: Notebook) -> bool:
    """Return whether two notebooks differ in the sources of the cells that are read only."""
    numbers = {cell.number for cell in before.cells}
    keys = _differing_keys(json_value(before.raw, strict=False), json_value(after.raw, strict=False), ())
    return all(key[:1] == ("cells",) and key[1] in numbers and key[2:3] == ("source",) for key in keys)


def _within(inner: Location, outer: Location) -> bool:
    starts = (outer.line or 0, outer.column or 0) <= (inner.line or 0, inner.column or 0)
    return starts and (inner.end_line or 0, inner.end_column or 0) <= (outer.end_line or 0, outer.end_column or 0)


def _nodes(one: Any, other: Any, around: ast.AST | None = None) -> Iterator[ast.AST | None]:
    """List the smallest expressions of a tree that differ from those of another; None for any other difference."""
    if isinstance(one, ast.AST) and type(one) is type(other):
        around = one if isinstance(one, ast.expr) else None
        for name in one._fields:
            yield from _nodes(getattr(one, name, None), getattr(other, name, None), around)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for item, twin in zip(one, other, strict=True):
            yield from _nodes(item, twin, around)
    elif isinstance(one, ast.expr) and isinstance(other, ast.expr):
        yield one
    elif type(one) is not type(other) or one != other:
        yield around


def _differing_keys(one: Any, other: Any, keys: Keys) -> Iterator[Keys]:
    """List the keys of the values in which two tables differ."""
    if isinstance(one, dict) and isinstance(other, dict) and list(one) == list(other):
        for key in one:
            yield from _differing_keys(one[key], other[key], (*keys, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (item, twin) in enumerate(zip(one, other, strict=True)):
            yield from _differing_keys(item, twin, (*keys, at))
    elif type(one) is not type(other) or one != other:
        yield keys


def _of_words(before: str, after: str) -> int:
    """Count the words of a shell text that differ; more than any fix has where their number does.

    A text with an open quote is split at spaces.
    """
    try:
        old, new = (shlex.split(text, comments=True) for text in (before, after))
    except ValueError:
        old, new = (re.split(r"(\s+)", text) for text in (before, after))
    return sum(one != other for one, other in zip(old, new, strict=True))
