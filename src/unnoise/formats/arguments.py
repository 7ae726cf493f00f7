"""Check the arguments of a constructor by its signature, so that a message names what it takes."""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from unnoise.errors import InputError, nearest, quoted

NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def check_arguments(constructor: Callable[..., Any], args: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise InputError for arguments that a constructor does not have or needs, or of another type.

    Args:
        constructor: a class or a function.
        args: the arguments, in plain JSON types.
        given: those that are passed beside them.
    """
    parameters, hints = _signature(constructor)
    rest = next((name for name, one in parameters.items() if one.kind is one.VAR_KEYWORD), "")
    if rest:
        more = getattr(constructor, rest, None)  # a dataclass of them
        if more is None:
            return
        parameters, hints = (
            {**own, **others} for own, others in zip((parameters, hints), _signature(more), strict=True)
        )
    own = {name: one for name, one in parameters.items() if name not in given and name != rest}
    for name, value in args.items():
        if name not in own:
            raise InputError(f"unknown argument {name!r}: {nearest(name, own)}")
        if name in hints and not _fits(hints[name], value):
            raise InputError(f"{name} {quoted(value)}: must be {_described(hints[name])}")
    missing = [name for name, one in own.items() if one.default is one.empty and name not in args]
    if missing:
        raise InputError(f"{', '.join(missing)}: missing; known: {', '.join(own)}")


def _signature(constructor: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    hints = get_type_hints(constructor.__init__ if inspect.isclass(constructor) else constructor)
    return dict(inspect.signature(constructor).parameters), hints


def _fits(kind: Any, value: Any) -> bool:
    """Return whether a value has a type; any value has a type that is not of JSON."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(choice, value) for choice in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list | tuple) and all(_fits(get_args(kind)[0], one) for one in value)
    if kind is float:
        return type(value) in (int, float)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) is kind if kind in NAMES or kind is NoneType else True


def _described(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_described(choice) for choice in get_args(kind) if choice is not NoneType)
    if get_origin(kind) is list:
        return f"a list, each {_described(get_args(kind)[0])}"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return NAMES.get(kind, "left out")
