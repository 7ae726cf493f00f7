"""Apply fixes to texts. Every change replaces one value, in the notation of its file."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unnoise.check.locate import is_json, locate
from unnoise.check.rule import Finding, Fix, Rewrite
from unnoise.check.shared_values import is_shared
from unnoise.check.subject import Location, Subject


def offered(finding: Finding, subject: Subject) -> Finding:
    """Reduce the fix of a finding to "show" where its changes cannot be written.

    Args:
        finding: with the fix of its rule
        subject: of the finding

    Returns:
        the finding. Its fix is "show" if a place is in no text of the subject, or if something else reads its value.
    """
    fix = finding.fix
    if fix is None or all(_can_write(change.place, subject) for change in fix.changes):
        return finding
    return replace(finding, fix=Fix.show(fix.message))


def _can_write(place: Location, subject: Subject) -> bool:
    text = subject.texts.get(place.path)
    found = locate(place, text) if text is not None else place
    return text is not None and _span(found, text) is not None and not is_shared(found, subject)


def apply_fixes(subject: Subject, fixes: Sequence[Fix]) -> dict[str, str]:
    """Apply the changes of fixes to the texts of a subject.

    Args:
        subject: with the texts
        fixes: of two changes that overlap, the first is applied

    Returns:
        the changed texts by path, without those that stay as they are
    """
    texts = dict(subject.texts)
    spans: dict[tuple[str, int, int], Rewrite] = {}
    for change in (change for fix in fixes for change in fix.changes):
        path = change.place.path
        span = _span(locate(change.place, texts[path]), texts[path]) if path in texts else None
        if span and not any(other == path and span[0] < end and start < span[1] for other, start, end in spans):
            spans[path, *span] = change
    for (path, start, end), change in sorted(spans.items(), key=lambda item: -item[0][1]):
        texts[path] = texts[path][:start] + _notation(change.value, path, subject) + texts[path][end:]
    return {path: text for path, text in texts.items() if text != subject.texts[path]}


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


def _notation(value: Any, path: str, subject: Subject) -> str:
    """Write a value in the notation of the text, whatever its file name: Python, JSON, TOML or a shell."""
    if subject.script is not None:
        return repr(value)
    if path.endswith(".toml") or is_json(subject.texts[path]):
        return json.dumps(value, ensure_ascii=False)
    return shlex.quote(str(value))
