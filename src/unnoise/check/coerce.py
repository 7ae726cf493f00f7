"""Accept a value of a file only if it has the expected type and a sane size."""

from math import isfinite
from typing import Any

from unnoise.check.subject import Located

LONGEST = 1 << 20  # letters of a text
LARGEST = 1 << 64  # of a number, in size; seeds have up to 64 bits


def finite(value: object) -> float | None:
    """Return a finite number, also a whole one; None for anything else, also for True."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return value if isfinite(value) else None


def text(said: Located[Any] | None) -> Located[str] | None:
    """Return a text of less than 1,048,576 letters; None for anything else."""
    return said if said is not None and isinstance(said.value, str) and len(said.value) < LONGEST else None


def number(said: Located[Any] | None) -> Located[float] | None:
    """Return a finite number, also a whole one; None for anything else, also for True."""
    return said if said is not None and finite(said.value) is not None else None


def whole(said: Located[Any] | None) -> Located[int] | None:
    """Return a whole number; None for anything else, also for True and 20.0."""
    return said if said is not None and type(said.value) is int and abs(said.value) < LARGEST else None
