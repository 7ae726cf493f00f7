"""Levels between the calls of a student."""

from itertools import pairwise

from unnoise.errors import InputError, check_number


def check_grid(name: str, levels: tuple[float, ...]) -> None:
    """Raise InputError unless levels are above 0, finite and descending."""
    for level in levels:
        check_number(name, level, 1e-4, 1e6)
    if any(here <= there for here, there in pairwise(levels)):
        raise InputError(f"{name} {list(levels)}: levels sigma between the calls, descending, without the last, 0")


def spread_evenly(levels: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Return `count` of some levels, spread evenly: the middle one for one, all of them for all."""
    places = (round(k * (len(levels) + 1) / (count + 1)) - 1 for k in range(1, count + 1))
    return tuple(levels[place] for place in places)
