"""Every field of a recipe with its type, range, default and meaning, read from the dataclasses and their docstrings."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from unnoise.card import CLASSES, Part

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
RANGE = re.compile(
    rf"(?<![\w.-])(?:from {NUMBER}, below {NUMBER}|above {NUMBER}, at most {NUMBER}|{NUMBER} to {NUMBER}"
    rf"|(?:above|at least|at most) {NUMBER}|a multiple of (?:`[\w.]+`|\d+))"
)
NAMES: Mapping[Any, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value", NoneType: "nothing",
}  # fmt: skip
ARGS = re.compile(r"^\s*Args:\n(.*?)(?=^\s*(?:Source|Returns|Raises):|\Z)", re.MULTILINE | re.DOTALL)
NEEDED = "needed"


@dataclass(frozen=True, slots=True)
class RecipeField:
    """A field of a recipe, or an argument of a network.

    Args:
        name: as a recipe writes it.
        kind: its type.
        range: the allowed numbers or values; empty where any will do.
        default: as a recipe would write it; NEEDED where there is none.
        meaning: what it decides.
        table: the dataclass of the field where it is a table of a recipe.
    """

    name: str
    kind: str
    range: str
    default: str
    meaning: str
    table: type | None = None


@cache
def recipe_fields(kind: type) -> tuple[RecipeField, ...]:
    """List the fields of a dataclass of a recipe, or the arguments of the constructor of a network."""
    meanings, owner = stated(kind), kind if is_dataclass(kind) else kind.__init__  # type: ignore[misc]
    annotations, extras = get_type_hints(owner), getattr(kind, "extras", None)
    if isinstance(extras, type):  # of a network
        meanings, annotations = meanings | stated(extras), annotations | get_type_hints(extras)
    return tuple(
        RecipeField(
            name=name.rstrip("_"),
            kind=type_name(annotations[name]),
            range=_range(annotations[name], meanings.get(name, "")),
            default=default,
            meaning=meanings.get(name, ""),
            table=_table(annotations[name]),
        )
        for name, default in _defaults(kind)
    )


def stated(kind: type) -> dict[str, str]:
    """Return what the Args of a docstring, and of the dataclass that it extends, say of each name."""
    found = ARGS.search(f"{inspect.getdoc(kind) or ''}\n")
    meanings = stated(kind.__base__) if is_dataclass(kind.__base__) else {}
    last: list[str] = []
    for line in inspect.cleandoc(found[1]).splitlines() if found else ():
        names, colon, text = line.partition(": ")
        if line[:1] != " " and colon:
            last = [name.strip() for name in names.split(",")]
            meanings |= dict.fromkeys(last, text.strip())
        else:
            meanings |= {name: f"{meanings[name]} {line.strip()}" for name in last}
    return {name: " ".join(text.split()).removesuffix(".") for name, text in meanings.items()}


def summary(kind: type) -> str:
    """Return the text of a docstring before its Args."""
    text = inspect.getdoc(kind) or ""
    return " ".join(re.split(r"^(?:Args|Source|Returns|Raises):", text, maxsplit=1, flags=re.MULTILINE)[0].split())


def type_name(annotation: Any) -> str:
    """Say in words what a recipe writes for a type."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(type_name(part) for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return " or ".join(dict.fromkeys(NAMES[type(value)] for value in get_args(annotation)))
    if get_origin(annotation) in (tuple, list):
        inner = dict.fromkeys(type_name(part) for part in get_args(annotation) if part is not ...)
        return f"list of {' and '.join(inner)}"
    if is_dataclass(annotation) or get_origin(annotation) is dict or annotation is dict:
        return "table"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def written(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {written(item)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value!r}"


def _range(annotation: Any, meaning: str) -> str:
    parts = [part for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal]
    if parts:
        return ", ".join(written(value) for part in parts for value in get_args(part))
    numeric = {"number", "integer"} & set(type_name(annotation).split())
    return next(iter(RANGE.findall(meaning)), "") if numeric else ""


def _table(annotation: Any) -> type | None:
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((part for part in parts if is_dataclass(part) and isinstance(part, type)), None)


def _defaults(kind: type) -> Iterator[tuple[str, str]]:
    if is_dataclass(kind):
        for one in fields(kind):
            value = one.default if one.default_factory is MISSING else one.default_factory()
            yield one.name, _default(NEEDED if value is MISSING else value)
        return
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD and hasattr(kind, "extras"):
            yield from _defaults(kind.extras)
            continue
        yield name, _default(NEEDED if parameter.default is parameter.empty else parameter.default)


def _default(value: Any) -> str:
    if value == NEEDED:
        return NEEDED
    if value is None:
        return "none"
    return "" if is_dataclass(value) else written(value)


def part_classes(role: str) -> dict[str, type]:
    """Return our classes that a `Part` of a role can name: net, process, autoencoder or text."""
    found: dict[str, type] = {}
    for name, place in CLASSES[role].items():
        module, _, attribute = place.partition(":")
        if not module.startswith("unnoise.integrations"):
            found[name] = getattr(import_module(module), attribute)
    return found


def tables(kind: type, place: str = "") -> Iterator[tuple[str, type]]:
    """List every table of a recipe with its dataclass, the recipe itself first under an empty name."""
    yield place, kind
    for one in recipe_fields(kind):
        if one.table is not None and one.table is not Part:
            yield from tables(one.table, f"{place}.{one.name}".lstrip("."))
