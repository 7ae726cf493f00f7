"""Parse JSON into a frozen dataclass strictly: exact types, no unknown field, no repeated field.

The usual library costs 8 MB and 0.1 s of every command, and its messages do not name the field in our way.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from unnoise.errors import InputError, nearest, quoted
from unnoise.formats.json_text import json_value

T = TypeVar("T")
TYPE_NAMES = {str: "a string", int: "an integer", float: "a finite number", bool: "true or false", NoneType: "null"}
LARGEST: Final = 2**63  # of integers
NO_NAMES: Final[Mapping[str, str]] = {}


class Strict:
    """Mark a dataclass that `parse` may build. A field `class_` is `class` in JSON."""

    __slots__ = ()


def parse(kind: type[T], text: str, where: str, former: Mapping[str, str] = NO_NAMES) -> T:
    """Parse JSON as a dataclass.

    Args:
        kind: a Strict dataclass of strings, numbers, tuples, unions, dicts and Strict dataclasses.
        text: the JSON.
        where: the start of every message.
        former: new names of renamed fields by their old path without indices, such as "advice.grid".

    Raises:
        InputError: the JSON is not valid. The message names the field, its value and the allowed values.
    """
    try:
        content = json_value(text)
        parsed: T = _read(kind, _renamed(content, former, "") if former else content, "")
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return parsed


def dump(value: Any) -> str:
    """Return a dataclass as one line of JSON with sorted keys, in ASCII."""
    return json.dumps(plain(value), sort_keys=True, allow_nan=False)


def plain(value: Any) -> dict[str, Any]:
    """Return a dataclass as the dict that stands for it in JSON."""
    return asdict(value, dict_factory=lambda pairs: {name.rstrip("_"): item for name, item in pairs})


def _renamed(value: Any, former: Mapping[str, str], place: str) -> Any:
    """Rename fields with former names. A field under both names keeps both, and is refused later."""
    if isinstance(value, list):
        return [_renamed(item, former, place) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, item in value.items():
        path = _join(place, name)
        current = former.get(path, name)
        found[name if current in value else current] = _renamed(item, former, path)
    return found


def _read(kind: Any, value: Any, place: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, place)
    if get_origin(kind) in (Union, UnionType):
        return _union(get_args(kind), value, place)
    if get_origin(kind) is Literal:
        return value if _fits(kind, value) else _wrong(_type_name(kind), value, place)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, place)
    if get_origin(kind) is dict:
        return value if isinstance(value, dict) else _wrong(_type_name(kind), value, place)
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is int and type(value) is int and abs(value) >= LARGEST:
        _wrong(f"an integer between -{LARGEST} and {LARGEST}", value, place)
    return value if type(value) is kind and kind is not float else _wrong(_type_name(kind), value, place)


def _dataclass(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        _wrong(_type_name(kind), value, place)
    known = {field.name.rstrip("_"): field for field in fields(kind)}
    for name in value:
        if name not in known:
            raise ValueError(f"unknown field {_join(place, name)!r}: {nearest(name, known)}")
    found = {}
    for name, field in known.items():
        if name in value:
            found[field.name] = _read(_hints(kind)[field.name], value[name], _join(place, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"field {_join(place, name)!r} is missing")
    return kind(**found)


def _union(choices: tuple[Any, ...], value: Any, place: str) -> Any:
    for choice in choices:
        if _fits(choice, value):
            return _read(choice, value, place)
    return _wrong(" or ".join(_type_name(choice) for choice in choices), value, place)


def _fits(kind: Any, value: Any) -> bool:
    """Return whether a value has the outermost type of a choice of a union."""
    if is_dataclass(kind) or get_origin(kind) is dict:
        return isinstance(value, dict)
    if get_origin(kind) is tuple:
        return isinstance(value, list)
    if get_origin(kind) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    return kind is Any or type(value) is kind or (kind is float and type(value) is int)


def _tuple(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, list):
        _wrong("a list", value, place)
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{place}: {quoted(value)}, {len(kinds)} values are required")
    return tuple(_read(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _wrong(expected: str, value: Any, place: str) -> NoReturn:
    raise ValueError(f"{f'{place}: ' if place else ''}{quoted(value)}, expected {expected}")


def _type_name(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type_name(choice) for choice in get_args(kind))
    if get_origin(kind) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(kind))
    return TYPE_NAMES.get(kind, "a list" if get_origin(kind) is tuple else "an object")


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
