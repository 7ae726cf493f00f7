"""Comments that suppress findings: `# unnoise: ignore[UN401]` on the line, or `# unnoise: ignore` for all rules."""

import re

from unnoise.check.rule import Finding
from unnoise.check.subject import Subject

COMMENT = re.compile(r"#\s*unnoise:\s*ignore(?:\[([\w\s,-]*)\])?", re.IGNORECASE)


def is_shown(finding: Finding, subject: Subject) -> bool:
    """Return whether no comment on the first or last line of a finding suppresses it."""
    text = subject.texts.get(finding.place.path)
    if text is None or finding.place.line is None:
        return True
    lines = text.split("\n")
    for number in {finding.place.line, finding.place.end_line or finding.place.line}:
        comment = COMMENT.search(lines[number - 1]) if 0 < number <= len(lines) else None
        if comment and _covers(comment[1], finding):
            return False
    return True


def _covers(listed: str | None, finding: Finding) -> bool:
    if listed is None:
        return True
    names = {name.strip().lower() for name in listed.split(",")}
    return bool(names & {finding.rule.id.lower(), finding.rule.name})
