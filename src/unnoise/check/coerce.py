"""Accept a value of a file only if it has the expected type and a sane size."""

from math import isfinite
from typing import Any

from unnoise.check.subject import Located

LONGEST = 1 << 20  # characters of a text
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


def whole(located: Located[Any] | None) -> Located[int] | None:
    """Return a whole number; None for anything else, also for True and 20.0."""
    return located if located is not None and type(located.value) is int and abs(located.value) < LARGEST else None
