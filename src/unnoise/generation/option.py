"""What an option is, and how its values are checked; the options themselves stand in `options`."""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, Literal, get_type_hints

from unnoise.errors import InputError, check_number, check_whole, nearest, quoted
from unnoise.generation import limits
from unnoise.sampling.registry import resolve_name, resolve_schedule

ValueKind = Literal[
    "whole",
    "number",
    "text",
    "choice",
    "levels",
    "size",
    "corner",
    "sides",
    "image",
    "lora",
    "flag",
    "sampler",
    "schedule",
]
Group = Literal["basic", "guidance", "image input", "control", "adapters", "output", "advanced"]
LARGEST: Final = 10**300  # of a level that is a whole number
SIDES: Final = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Option:
    """Describe one option.

    Args:
        kind: how a value is checked, and read on the command line.
        group: the heading of `--help` under which it stands.
        help: one line for people.
        low, high: the range of a number.
        choices: the allowed words.
        card: the field of the card's advice that is the default.
        spelling: on the command line, where it is not the field's name.
        python_only: the option has no form on the command line.
    """

    kind: ValueKind
    group: Group
    help: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    card: str = ""
    spelling: tuple[str, ...] = ()
    python_only: bool = False


@lru_cache
def described(kind: Any) -> dict[str, Option]:
    """Give the `Option` of every field of an option class."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name].__metadata__[0] for one in fields(kind)}


def check_fields(options: Any) -> None:
    """Raise InputError for the first field that is out of its range."""
    kind: Any = type(options)
    defaults = {one.name: one.default for one in fields(kind)}
    for name, option in described(kind).items():
        value = getattr(options, name)
        if value is not None or defaults[name] is not None:
            _check(name, value, option)


def _check(name: str, value: Any, option: Option) -> None:
    if option.kind == "whole":
        check_whole(name, value, int(option.low), int(option.high))
    elif option.kind == "number":
        check_number(name, value, option.low, option.high)
    elif option.kind == "text":
        limits.check_text(name, value)
    elif option.kind == "choice" and not (isinstance(value, str) and value in option.choices):
        raise InputError(f"{name} {quoted(value)}: {nearest(quoted(value), option.choices)}")
    elif option.kind == "flag" and not isinstance(value, bool):
        raise InputError(f"{name} {quoted(value)}: true or false")
    elif option.kind == "size":
        limits.check_size(value, name, int(option.high) or limits.SIDE)
    elif option.kind == "corner":
        limits.check_corner(name, value)
    elif option.kind == "levels":
        limits.check_levels(name, value)
    elif option.kind == "sides":
        if not isinstance(value, tuple | list) or len(value) != len(SIDES):
            raise InputError(f"{name} {quoted(value)}: four whole numbers, pixels at {', '.join(SIDES)}")
        for side, pixels in zip(SIDES, value, strict=True):
            check_whole(f"{name} {side}", pixels, int(option.low), int(option.high))
    elif option.kind == "sampler":
        if isinstance(value, str):
            resolve_name(value)
        elif not hasattr(value, "advance"):
            raise InputError(f"sampler {quoted(value)}: a name, or an object with the method `advance`")
    elif option.kind == "schedule":
        _check_schedule(name, value)


def _check_schedule(name: str, value: Any) -> None:
    if isinstance(value, str):
        resolve_schedule(value)
    elif not isinstance(value, tuple) or not all(_is_level(one) for one in value):
        raise InputError(f"{name} {quoted(value)}: a name, or a list of levels, numbers from 0 to inf")


def _is_level(value: object) -> bool:
    """Return whether a value is a number that a float can be; `explicit` checks its range."""
    return type(value) is float or (type(value) is int and value < LARGEST)
