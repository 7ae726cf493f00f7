"""Flatten the tables of a file: every value under its dotted keys, such as "train.lr" or "process.0.type"."""

from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.subject import Located, Location

Settings = dict[str, Located[Any]]
DEPTH = 8  # of tables in each other
KEYS = 2000  # values of one file


def flat(content: Mapping[str, Any], path: str) -> Settings:
    """List the values of a table under their dotted keys.

    Args:
        content: of the file; lists of tables have numbers as keys, other lists are values
        path: of the file

    Returns:
        at most 2,000 values, each with its keys as its place
    """
    settings: Settings = {}
    for keys, value in _values(content, ()):
        if len(settings) >= KEYS:
            break
        settings[".".join(map(str, keys))] = Located(value, Location(path, keys))
    return settings


def _values(value: Any, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    inner: Any = value.items() if isinstance(value, dict | Mapping) else ()
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        inner = enumerate(value)
    if (inner or value == {}) and len(keys) < DEPTH:
        for key, item in inner:
            yield from _values(item, (*keys, key))
    else:
        yield keys, value
