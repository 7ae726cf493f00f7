"""Merge the findings of a sweep: a script that draws with every value of a list has one finding for the wrong ones.

The findings of one kind at several nodes of a workflow are one too.
"""

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from unnoise.check.rule import Finding, Fix
from unnoise.check.subject import Location, Script, Subject
from unnoise.check.syntax import Places

MOST = 8  # values that are listed
LONGEST = 40  # characters of a value; longer ones are prompts, each with a line of its own
DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
APART = (ast.Call, ast.Lambda)  # what they contain is not compared with its neighbours
Span = tuple[int | None, int | None, int | None, int | None]


def merged(findings: Sequence[Finding], subject: Subject) -> list[Finding]:
    """Merge findings of one rule whose values are in one list or table of a script, or at one argument in a loop.

    Those of a workflow are merged where they say the same of several nodes.

    Args:
        findings: placed, with their fixes
        subject: of the findings

    Returns:
        the findings; a merged one is at the first wrong value, lists all wrong values, and its fix writes all of them
    """
    groups: dict[tuple[object, ...], list[Finding]] = defaultdict(list)
    lists = _lists(subject.script) if subject.script is not None and _are_repeated(findings) else {}
    for number, one in enumerate(findings):
        span = _span(one.place)
        listed = lists.get(span, span) if lists and one.place.line and _is_short(one.place) else None
        kind = one.rule.id, one.message, one.grade, one.fix.kind if one.fix else "", one.place.path
        alike = subject.tool == "comfyui" or listed is not None
        groups[(*kind, listed) if alike else (number,)].append(one)
    return [_joined(group) for group in groups.values()]


def _are_repeated(findings: Sequence[Finding]) -> bool:
    return len({(one.rule.id, one.message) for one in findings}) < len(findings)


def _span(place: Location) -> Span:
    return place.line, place.column, place.end_line, place.end_column


def _is_short(place: Location) -> bool:
    return place.line == place.end_line and (place.end_column or 0) - (place.column or 0) <= LONGEST


def _lists(script: Script) -> dict[Span, Span]:
    """Return the place of the outermost list around every value that is in one."""
    places = Places(script.path, script.lines)
    found: dict[Span, Span] = {}
    left: list[tuple[ast.AST, Span | None]] = [(script.tree, None)]
    while left:
        node, outer = left.pop()
        if isinstance(node, ast.expr) and outer is not None:
            found[_span(places.at(node))] = outer
        if isinstance(node, APART):
            outer = None
        elif isinstance(node, DISPLAYS) and outer is None:
            outer = _span(places.at(node))
        left += [(child, outer) for child in ast.iter_child_nodes(node)]
    return found


def _joined(group: Sequence[Finding]) -> Finding:
    ordered = sorted(group, key=lambda one: (one.place.line or 0, one.place.column or 0))
    first = ordered[0]
    again = (
        f", {len(group)} times" if len({one.measured for one in group}) == 1 < len({one.place for one in group}) else ""
    )
    return replace(
        first,
        measured=_listed([one.measured for one in ordered]) + again,
        expected=_listed([one.expected for one in ordered]),
        suggestion=_listed([one.suggestion for one in ordered]),
        fix=_fix([one.fix for one in ordered if one.fix is not None]),
    )


def _fix(fixes: Sequence[Fix]) -> Fix | None:
    if not fixes:
        return None
    changes = tuple(change for one in fixes for change in one.changes)
    return replace(fixes[0], message=_listed([one.message for one in fixes]), changes=changes)


def _listed(texts: Sequence[str]) -> str:
    """Write texts as one, with the words that they share at their beginning and end written once."""
    rows = [text.split(" ") for text in dict.fromkeys(texts)]
    if len(rows) == 1:
        return texts[0]
    head = len(list(takewhile(_is_one, zip(*rows, strict=False))))
    rows = [row[head:] for row in rows]
    tail = len(list(takewhile(_is_one, zip(*(row[::-1] for row in rows), strict=False))))
    tail = min(tail, *(len(row) - 1 for row in rows)) if min(map(len, rows)) else 0
    values = [" ".join(row[: len(row) - tail]) for row in rows]
    shown = values[:MOST] + [f"and {len(values) - MOST} more"] * (len(values) > MOST)
    listed = ("; " if any("," in value for value in values) else ", ").join(shown)
    return " ".join([*texts[0].split(" ")[:head], listed, *rows[0][len(rows[0]) - tail :]])


def _is_one(words: Sequence[str]) -> bool:
    return len(set(words)) == 1
