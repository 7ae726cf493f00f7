"""Where a value is in a file."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Location:
    """Locate a value: a file, and in it keys of JSON, TOML or YAML, a tensor, a key of infotext, or lines and columns.

    Args:
        path: of the file
        keys: from the root, such as ("3", "inputs", "cfg"); of a tensor, its name alone
        line, end_line: from 1
        column, end_column: in characters from 0, the end exclusive; `ast` counts bytes instead
        read_at: of a named constant of a script, the argument that reads it
    """

    path: str
    keys: tuple[str | int, ...] = ()
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    read_at: "Location | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """Hold a value and the place that states it."""

    value: T
    place: Location
