"""Errors that a user can act on. Each message is one line with the field, the value and what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """An argument, option or file that cannot be used; the command line prints the message and exits with 2."""


class NonFiniteError(ArithmeticError):
    """NaN or infinity in a run, with the step, the level and the dtype where it appeared."""


class InputWarning(UserWarning):
    """One line on a change made to an input; the command line prints it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the closest known name, if any, and all known names."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    return f"{suggestion}known: {', '.join(names)}"


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise InputError unless `value` is a whole number from low to high."""
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{name} {value!r}: a whole number from {low} to {high}")
