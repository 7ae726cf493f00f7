"""The errors that a person can act on: each is one line that names the field, the value and what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Refuse what was asked, in one line; the command line prints it and exits with 2."""


class NonFiniteError(ArithmeticError):
    """Report NaN or infinity in a run, with the step, the level and the dtype where it appeared."""


class InputWarning(UserWarning):
    """Say in one line what was changed in an input; the command line prints it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant, if one is close, and list them all."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise InputError unless `value` is a whole number from low to high."""
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{name} {value!r}: a whole number from {low} to {high}")
