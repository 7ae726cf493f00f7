"""Accept a value of a file only if it has the expected type and a sane size."""

import re
from math import isfinite
from typing import Any

from unnoise.check.subject import Located

LONGEST = 1 << 20  # characters of a text
DIGITS = 30  # of a number in a text
LARGEST = 1 << 64  # of a number; seeds have up to 64 bits


def finite(value: object) -> float | None:
    """Return a finite number or whole number; None for anything else, also for True."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return value if isfinite(value) else None


def text(located: Located[Any] | None) -> Located[str] | None:
    """Return a text of less than 1,048,576 characters; None for anything else."""
    return located if located is not None and isinstance(located.value, str) and len(located.value) < LONGEST else None


def number(located: Located[Any] | None) -> Located[float] | None:
    """Return a finite number or whole number; None for anything else, also for True."""
    return located if located is not None and finite(located.value) is not None else None


def stated_number(located: Located[Any] | None) -> Located[float] | None:
    """Return a finite number that is written as a number or as a text of one; None for anything else."""
    if located is None or not isinstance(located.value, str):
        return number(located)
    try:
        value = finite(float(located.value)) if len(located.value) <= DIGITS else None
    except ValueError:
        return None
    return None if value is None else Located(value, located.place)


def stated_whole(located: Located[Any] | None) -> Located[int] | None:
    """Return a whole number that is written as a number or as a text of one; None for anything else."""
    if located is None or not isinstance(located.value, str):
        return whole(located)
    if len(located.value) > DIGITS or not re.fullmatch(r"\s*-?\d+\s*", located.value, re.ASCII):
        return None
    return whole(Located(int(located.value), located.place))


def whole(located: Located[Any] | None) -> Located[int] | None:
    """Return a whole number; None for anything else, also for True and 20.0."""
    return located if located is not None and type(located.value) is int and abs(located.value) < LARGEST else None
