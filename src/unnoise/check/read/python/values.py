"""Known values of expressions in a script: constants and objects of diffusers; all others are UNREAD."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unnoise.check.subject import Config, Located, NamedModel, Use

LARGEST = 1e15  # of numbers; larger ones have no use in such a script
LONGEST = 20_000  # characters of a stored text
MOST = 500  # elements of a list or a table
DEEPEST = 8  # of nested lists and tables


class Unread:
    """Stand for a value that cannot be known without running the script."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "unread"


UNREAD = Unread()


@dataclass(frozen=True, slots=True)
class Value:
    """Hold the value of an expression, and its node.

    what: None, bool, int, float, str; list or tuple of Value; dict of Value by constant; a thing below; UNREAD;
    weak: a default that the user of the script may change, so that no branch is skipped because of it;
    swept: one of the values that the script compares, so that none is taken for a setting;
    use: the argument that last passed it on, where that is not `node` itself.
    """

    what: Any
    node: ast.AST
    weak: bool = False
    swept: bool = False
    use: ast.AST | None = None

    @property
    def read(self) -> bool:
        return self.what is not UNREAD


@dataclass(frozen=True, slots=True)
class Name:
    """Name an import, such as "torch.float16", or a name that the script never binds."""

    dotted: str

    @property
    def last(self) -> str:
        return self.dotted.rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True)
class Function:
    """Point to a function of the script; scope: where its free names are; owner: the object that a method is of."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    scope: int
    owner: Any = None


@dataclass(frozen=True, slots=True)
class Class:
    """Point to a class of the script; based: its imported base class."""

    node: ast.ClassDef
    scope: int
    based: str = ""


@dataclass(frozen=True, slots=True)
class Thing:
    """Refer to something that changes while the script runs. kind: "object", "pipe", "parser" or "options"."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class ComponentValue:
    """Hold a component of a pipeline. of: its pipeline; role: "components" is all of them."""

    class_: str
    model: NamedModel | None = None
    of: Thing | None = None
    role: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleValue:
    """Hold diffusers' scheduler. config: None is the published one of the pipeline's model."""

    config: Config | None
    of: Thing | None = None


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """Hold the configuration of a scheduler, the value of `scheduler.config`."""

    config: Config | None
    of: Thing | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """Hold a generator of random numbers."""

    seed: Value | None = None
    device: Value | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Hold an image from a file or an address, or a new one where `file` is "".

    size: width and height, if stated; blur: radius of its blur, 0.0 without.
    """

    file: str
    size: tuple[int, int] | None = None
    blur: float = 0.0


@dataclass(frozen=True, slots=True)
class Several:
    """Hold a list of unknown length by one of its elements."""

    one: Value


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """Hold an adapter of a pipeline: its name there, and whether it is active and merged into the weights."""

    name: str
    use: Use
    kind: str = "lora"
    active: bool = True
    fused: bool = False


@dataclass(frozen=True, slots=True)
class Pipe:
    """Hold a pipeline at one point of the script. foreign: other code defines or changes how it samples."""

    class_: str
    model: NamedModel | None = None
    schedule: Config | None = None
    vae: NamedModel | None = None
    adapters: tuple[LoadedAdapter, ...] = ()
    dtype: Located[str] | None = None
    parts: Mapping[str, ComponentValue] = field(default_factory=dict)
    noted: Mapping[str, Located[Any]] = field(default_factory=dict)
    tool: str = "diffusers"
    foreign: bool = False


def used(value: Value, node: ast.AST) -> Value:
    """Return a value as the argument `node` passes it on."""
    return value if value.node is node else replace(value, use=node)


def plain(value: Value) -> Any:
    """Return the Python value, for an image the name of its file; UNREAD where it is unknown."""
    return _plain(value, 0, [MOST])


def _plain(value: Value, depth: int, left: list[int]) -> Any:
    what = value.what
    left[0] -= 1
    if value.swept or depth > DEEPEST or left[0] < 0:
        return UNREAD
    if what is None or isinstance(what, bool | str):
        return what
    if isinstance(what, int | float):
        return what if abs(what) < LARGEST else UNREAD
    if isinstance(what, list | tuple):
        return type(what)(_plain(item, depth + 1, left) for item in what)
    if isinstance(what, dict):
        return {key: _plain(item, depth + 1, left) for key, item in what.items()}
    if isinstance(what, Picture):
        return UNREAD if what.blur else what.file or UNREAD
    return what.dotted if isinstance(what, Name) and what.dotted.startswith("torch.") else UNREAD


def size_of(value: Value | None) -> tuple[int, int] | None:
    """Return a pair of whole numbers as width and height; None where it is no such pair."""
    sides = plain(value) if value is not None else None
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(type(side) is int for side in sides):
        return None
    return sides[0], sides[1]


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal in kind and content: 1, 1.0 and True differ, and so do lists too long."""
    return _same(first, second, [MOST])


def _same(first: Any, second: Any, left: list[int]) -> bool:
    left[0] -= 1
    if first is second:
        return True
    if type(first) is not type(second) or left[0] < 0:
        return False
    if isinstance(first, Value):
        return _same(first.what, second.what, left)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(
            _same(one, other, left) for one, other in zip(first, second, strict=True)
        )
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key], left) for key in first)
    return bool(first == second)
