"""Errors that a user can act on. Each message is one line with the field, the value and what is allowed."""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite, log10
from numbers import Integral, Real
from pathlib import Path
from reprlib import Repr

LETTERS = 340  # of a message; texts in quotes and runs of letters in it are shorter, so 300 at most were given
QUOTED, RUN = 80, 200  # letters of a text in quotes, and of one without spaces
LIST = 1000  # letters of a list of what is allowed
LONG_QUOTE = re.compile(rf"""(?<!\w)(?:'[^']{{{QUOTED},}}'|"[^"]{{{QUOTED},}}")""")
LONG_RUN = re.compile(rf"\S{{{RUN},}}")
ALLOWED = re.compile(r"(?:known|allowed|supported|supported are|are one of|expected): ")
DIGITS = 40  # of an integer that is quoted whole
SHORT = Repr()
SHORT.maxstring = SHORT.maxother = QUOTED - 10
SHORT.maxlevel, SHORT.maxlong = 3, DIGITS


class InputError(ValueError):
    """An argument, option or file that cannot be used; the command line prints the message and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


class OutputError(RuntimeError):
    """A file or stream that could not be written to its end; the command line prints the message and exits with 1."""


class NonFiniteError(ArithmeticError):
    """NaN or infinity in a run, with the step, the level and the dtype where it appeared."""


class CollapseError(ArithmeticError):
    """Samples of a student that are no longer spread as its teacher's, with the step and the figure that shows it."""


class InputWarning(UserWarning):
    """One line on a change made to an input; the command line prints it."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message))


class CheckedWarning(InputWarning):
    """A warning that a rule of `unnoise check` gives too; where the command line checks a request, it prints that."""


def shortened(message: str) -> str:
    """Return a message as one line without control characters and with at most LETTERS letters of what was given.

    Long texts in quotes and long texts without spaces lose their middle, and so does the message itself; a list of
    what is allowed at its end is kept.
    """
    line = one_line(message if len(message) <= 4 * LIST else f"{message[: 3 * LIST]} ... {message[-LIST:]}")
    line = LONG_QUOTE.sub(lambda found: _cut(found[0], QUOTED - 20, 10), line)
    line = LONG_RUN.sub(lambda found: _cut(found[0], RUN // 2, RUN // 3), line)
    if len(line) <= LETTERS:
        return line
    allowed = max((found.start() for found in ALLOWED.finditer(line)), default=len(line))
    return _cut(line[:allowed], LETTERS // 2, LETTERS // 4) + _cut(line[allowed:], LIST * 2 // 3, LIST // 4)


def one_line(message: str) -> str:
    """Return a message as one line, with control characters escaped."""
    if message.isprintable():
        return message
    line = " ".join(message.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def quoted(value: object) -> str:
    """Return any value as it is written in Python, cut to QUOTED letters. It never raises."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**DIGITS:
        return f"an integer of about {int((value.bit_length() - 1) * log10(2)) + 1} digits"
    try:
        return _cut(SHORT.repr(value), QUOTED - 20, 10)
    except Exception:  # the repr of a foreign object raises anything
        return f"a {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the closest known name, if any, and all known names."""
    names = sorted(known)
    close = get_close_matches(name[:QUOTED], names, n=1, cutoff=0.5)
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    return f"{suggestion}known: {', '.join(names)}"


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise InputError unless `value` is a whole number from low to high."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise InputError(f"{name} {quoted(value)}: a whole number from {low} to {high}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise InputError unless `value` is a number from low to high."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high or not isfinite(value):  # type: ignore[operator]
        raise InputError(f"{name} {quoted(value)}: a number from {low:g} to {high:g}")


def checked_path(name: str, value: object) -> Path:
    """Return a path that a person gave. Raises InputError for anything but a text or a path."""
    if not isinstance(value, str | os.PathLike) or not isinstance(text := os.fspath(value), str):
        raise InputError(f"{name} {quoted(value)}: must be a path")
    return Path(text)


def plain_number(value: object) -> object:
    """Return a number of another library, such as numpy's, as Python's own; any other value as it is."""
    if type(value) in (int, float, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _cut(text: str, start: int, end: int) -> str:
    return text if len(text) <= start + end + 3 else f"{text[:start]}...{text[-end:]}"
