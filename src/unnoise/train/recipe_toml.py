"""Write a recipe as TOML, with a comment on every line: what differs from the defaults, and what has none."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from unnoise.card import Part
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.reference import part_classes, recipe_fields, stated, summary, written

WIDTH = 118  # letters of a line


def recipe_toml(recipe: TrainingRecipe, remarks: Sequence[str] = ()) -> str:
    """Return a recipe as TOML that is read as an equal recipe. remarks: paragraphs at its head, as comments."""
    head = [line for remark in remarks for line in textwrap.wrap(remark, WIDTH - 2, subsequent_indent="  ")]
    return "\n".join([*(f"# {line}".rstrip() for line in head), *_table(recipe, "", "")]).lstrip() + "\n"


def _table(value: Any, place: str, meaning: str) -> Iterator[str]:
    """Write the plain fields of a dataclass, then its tables."""
    meanings, changed = stated(type(value)), [one.name for one in fields(value) if _is_changed(value, one)]
    tables = [name for name in changed if is_dataclass(getattr(value, name))]
    if place:
        yield from ("", f"[{place}]  # {meaning}")
    for name in changed:
        if name not in tables:
            yield from _line(name, getattr(value, name), meanings[name])
    for name in tables:
        inner, below = getattr(value, name), f"{place}.{name}".lstrip(".")
        if isinstance(inner, Part):
            yield from _part(inner, name, below, meanings[name])
        else:
            yield from _table(inner, below, meanings[name])


def _is_changed(value: Any, one: Any) -> bool:
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return default is MISSING or getattr(value, one.name) != default


def _part(part: Part, role: str, place: str, meaning: str) -> Iterator[str]:
    kind = part_classes(role)[part.class_]
    yield from ("", f"[{place}]  # {meaning}", *_line("class", part.class_, summary(kind).partition(". ")[0]))
    if part.args:
        meanings = {field.name: field.meaning for field in recipe_fields(kind)}
        yield from ("", f"[{place}.args]  # of that class")
        for name, value in part.args.items():
            yield from _line(name, value, meanings[name])


def _line(name: str, value: Any, meaning: str) -> Iterator[str]:
    line = f"{name} = {written(value)}"
    if len(line) + len(meaning) + 4 <= WIDTH:
        yield f"{line}  # {meaning}"
    else:
        yield from (f"# {part}" for part in textwrap.wrap(meaning, WIDTH - 2))
        yield line
