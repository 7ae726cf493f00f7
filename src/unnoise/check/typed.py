"""Take what a file says only where it is of the kind that is meant: files hold anything."""

from math import isfinite
from typing import Any

from unnoise.check.subject import Said

LONGEST = 1 << 20  # letters of a text
LARGEST = 1 << 64  # of a number, in size; seeds have up to 64 bits


def finite(value: object) -> float | None:
    """Give a finite number, also a whole one; None for anything else, also for True."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return value if isfinite(value) else None


def text(said: Said[Any] | None) -> Said[str] | None:
    """Take a text that is not too long."""
    return said if said is not None and isinstance(said.value, str) and len(said.value) < LONGEST else None


def number(said: Said[Any] | None) -> Said[float] | None:
    """Take a finite number, also a whole one; True is none."""
    return said if said is not None and finite(said.value) is not None else None


def whole(said: Said[Any] | None) -> Said[int] | None:
    """Take a whole number; True is none, and neither is 20.0."""
    return said if said is not None and type(said.value) is int and abs(said.value) < LARGEST else None
