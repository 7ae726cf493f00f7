"""Write fixes into texts: every change replaces one value, in the notation of the file it stands in."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from unnoise.check.catalogue import entry
from unnoise.check.locate import is_json, locate
from unnoise.check.rule import Change, Finding, Fix
from unnoise.check.subject import Place, Subject


def fix_of(finding: Finding, subject: Subject) -> Fix | None:
    """Give the fix that the finding's rule has for it; it is only shown where its place is in no text."""
    make = entry(finding.rule.id).fix
    fix = make(subject, finding) if make else None
    if fix is None or all(_span(change.place, subject.texts) for change in fix.changes):
        return fix
    return Fix("show", fix.says)


def mended(subject: Subject, fixes: Sequence[Fix]) -> dict[str, str]:
    """Give the texts of a subject that fixes change, as changed; of two changes that overlap, the first counts."""
    texts = dict(subject.texts)
    spans: dict[tuple[str, int, int], Change] = {}
    for change in (change for fix in fixes for change in fix.changes):
        span = _span(change.place, texts)
        if span and not any(
            path == change.place.path and span[0] < end and start < span[1] for path, start, end in spans
        ):
            spans[change.place.path, *span] = change
    for (path, start, end), change in sorted(spans.items(), key=lambda item: -item[0][1]):
        written = _written(change.value, path, subject)
        texts[path] = texts[path][:start] + written + texts[path][end:]
    return {path: text for path, text in texts.items() if text != subject.texts[path]}


def _span(place: Place, texts: Any) -> tuple[int, int] | None:
    text = texts.get(place.path)
    if text is None:
        return None
    found = locate(place, text)
    if found.line is None or found.column is None or found.end_line is None or found.end_column is None:
        return None
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    if not 0 < found.line <= found.end_line < len(starts):
        return None
    return starts[found.line - 1] + found.column, starts[found.end_line - 1] + found.end_column


def _written(value: Any, path: str, subject: Subject) -> str:
    """Write a value as the text does, whatever its file is called: Python, JSON and TOML alike, or a shell."""
    if subject.script is not None:
        return repr(value)
    if path.endswith(".toml") or is_json(subject.texts[path]):
        return json.dumps(value, ensure_ascii=False)
    return shlex.quote(str(value))
