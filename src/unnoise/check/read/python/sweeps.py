"""Mark the values of a deliberate sweep: a loop over a list from low to high compares values, wrong ones among them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from unnoise.check.read.python.values import Value

FEWEST = 3  # values; of two, one may be a fault
DEEPEST = 3  # of tables and lists in the list


def marked(items: Sequence[Value], depth: int = 0) -> Sequence[Value]:
    """Mark the numbers of a list that rise or fall throughout, also those at one place of all its rows.

    Args:
        items: over which a loop runs
        depth: of this list in another

    Returns:
        the items; a run has no known value from a marked one
    """
    if len(items) < FEWEST or depth > DEEPEST:
        return items
    whats = [item.what for item in items]
    if all(isinstance(what, int | float) and not isinstance(what, bool) for what in whats):
        return [replace(item, swept=True) for item in items] if _is_sorted(whats) else items
    first = whats[0]
    if isinstance(first, dict) and all(isinstance(what, dict) and what.keys() == first.keys() for what in whats):
        columns = {key: marked([what[key] for what in whats], depth + 1) for key in first}
        return [replace(item, what={key: columns[key][at] for key in first}) for at, item in enumerate(items)]
    if isinstance(first, list | tuple) and all(type(what) is type(first) and len(what) == len(first) for what in whats):
        rows = [marked(column, depth + 1) for column in zip(*whats, strict=True)]
        return [replace(item, what=type(first)(row[at] for row in rows)) for at, item in enumerate(items)]
    return items


def _is_sorted(numbers: Sequence[Any]) -> bool:
    return all(one < other for one, other in pairwise(numbers)) or all(one > other for one, other in pairwise(numbers))
