"""Apply fixes to texts. Every change replaces one value, in the notation of its file."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unnoise.check.locate import is_json, locate
from unnoise.check.notebook_places import raw_span
from unnoise.check.refused_settings import refuses
from unnoise.check.rule import Finding, Fix, Rewrite
from unnoise.check.shared_values import is_literal, is_own_argument, is_shared, only_tries
from unnoise.check.subject import Location, Subject

PLAIN = re.compile(r"[\w .,:/@%+=-]*")  # texts that need no escape between quotes of any kind
WHOLE = re.compile(r"-?\d+", re.ASCII)


@dataclass(slots=True)
class FixedFiles:
    """Hold what fixes make of files.

    Args:
        before: the changed texts as they are in the files
        after: the same texts with all fixes, by path
        count: number of fixes
    """

    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    count: int = 0


def offered(finding: Finding, subject: Subject) -> Finding:
    """Complete the fix of a finding: where it is written, or that it is only shown.

    Args:
        finding: with the fix of its rule
        subject: of the finding

    Returns:
        the finding. A constant that something else reads is left, and its argument written instead. The fix is "show"
        if a place is in no text of the subject, if it is no literal, if something else reads its value, if the tool
        would refuse it, or if it chooses for the user in a finding that is less sure than its rule, or in a test, which
        may compare its image with a stored one.
    """
    fix = finding.fix
    if fix is None:
        return finding
    written = [_written(change, subject) for change in fix.changes]
    changes = tuple(change for change in written if change is not None)
    in_doubt = fix.kind == "unsafe" and (finding.grade < finding.rule.severity or only_tries(finding.place, subject))
    if in_doubt or len(changes) < len(written) or refuses(subject, changes):
        return replace(finding, fix=Fix.show(fix.message))
    return replace(finding, fix=replace(fix, changes=changes))


def at_argument(finding: Finding, subject: Subject) -> Finding:
    """Place a finding at the argument that reads a value, where something else reads that value too."""
    place = finding.place
    if place.read_at is None or subject.script is None or not is_shared(place, subject):
        return finding
    return replace(finding, place=place.read_at)


def _written(change: Rewrite, subject: Subject) -> Rewrite | None:
    """Return a change at the place where it may be written; None where it may not."""
    place = change.place
    text = subject.texts.get(place.path)
    found = locate(place, text) if text is not None else place
    if text is None or _span(found, text) is None or not is_literal(found, subject):
        return None
    if not is_shared(found, subject):
        return change
    return replace(change, place=place.read_at) if place.read_at and is_own_argument(place, subject) else None


def apply_fixes(subject: Subject, fixes: Sequence[Fix]) -> dict[str, str]:
    """Apply the changes of fixes to the texts of a subject.

    Args:
        subject: with the texts
        fixes: of two changes that overlap, the first is applied

    Returns:
        the changed texts by path, without those that stay as they are; of a notebook its JSON
    """
    spans: dict[tuple[str, int, int], str] = {}
    for change in (change for fix in fixes for change in fix.changes):
        path = change.place.path
        text = subject.texts.get(path, "")
        span = _span(locate(change.place, text), text)
        if span and not any(other == path and span[0] < end and start < span[1] for other, start, end in spans):
            spans[path, *span] = written(change.value, text[slice(*span)], path, subject)
    texts = {path: file_text(subject, path) for path, _, _ in spans}
    for (path, start, end), new in sorted(spans.items(), key=lambda item: -item[0][1]):
        span, new = _in_file(subject, path, start, end, new)
        texts[path] = texts[path][: span[0]] + new + texts[path][span[1] :]
    return {path: text for path, text in texts.items() if text != file_text(subject, path)}


def file_text(subject: Subject, path: str) -> str:
    """Return the text of a file: of a notebook its JSON, not its script."""
    return subject.notebook.raw if subject.notebook is not None else subject.texts[path]


def _in_file(subject: Subject, path: str, start: int, end: int, new: str) -> tuple[tuple[int, int], str]:
    """Convert a change of the script of a notebook to one of its JSON; a place that is not found stays as it is."""
    if subject.notebook is None:
        return (start, end), new
    text = subject.texts[path]
    line = text.count("\n", 0, start) + 1
    cell = subject.notebook.cell_at(line)
    if cell is None or "\n" in text[start:end]:
        return (0, 0), ""
    column = start - (text.rfind("\n", 0, start) + 1)
    at = sum(len(one) + 1 for one in cell.lines[: line - cell.start]) + column
    span = raw_span(subject.notebook, cell, at, at + end - start)
    return ((0, 0), "") if span is None else (span, json.dumps(new, ensure_ascii=False)[1:-1])


def _span(found: Location, text: str) -> tuple[int, int] | None:
    """Return the offsets in a text of a place with lines and columns; None where it has none."""
    if found.line is None or found.column is None or found.end_line is None or found.end_column is None:
        return None
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    if not 0 < found.line <= found.end_line < len(starts):
        return None
    return starts[found.line - 1] + found.column, starts[found.end_line - 1] + found.end_column


def written(value: Any, old: str, path: str, subject: Subject) -> str:
    """Write a value in the notation of a text, whatever its file name: Python, JSON, TOML or a shell.

    Args:
        value: the new value
        old: what is replaced, whose quotes are kept
        path: of the text
        subject: with the text

    Returns:
        the text of the value
    """
    text = subject.texts[path]
    if isinstance(value, float) and value.is_integer() and WHOLE.fullmatch(old):
        value = int(value)
    if subject.script is not None:
        return _quoted(value, old, "'" if text.count("'") > text.count('"') else '"') or repr(value)
    if is_json(text):
        return json.dumps(value, ensure_ascii=False)
    if path.endswith(".toml"):
        return _quoted(value, old, '"') or json.dumps(value, ensure_ascii=False)
    return _quoted(str(value), old, "") or shlex.quote(str(value))


def _quoted(value: Any, old: str, usual: str) -> str:
    """Return a plain text in the quotes of the old one, or in the usual ones; "" for any other value."""
    quote = old[:1] if old[:1] in ("'", '"') and old[:3] not in ("'''", '"""') else usual
    if not isinstance(value, str) or not quote or not PLAIN.fullmatch(value):
        return ""
    return f"{quote}{value}{quote}"
