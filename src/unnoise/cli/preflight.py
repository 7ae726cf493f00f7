"""Check a request before anything heavy is loaded: what `unnoise check` would warn of is said, or refused."""

import sys

from unnoise.check.catalogue import chosen
from unnoise.check.engine import judge
from unnoise.check.report.text import NAMES, printable, sentence
from unnoise.check.rule import WARN, Finding
from unnoise.check.subject import Subject
from unnoise.errors import InputError


def warn(subject: Subject, strict: bool, *families: str) -> None:
    """Say on stderr what is probably not meant, a line each. Raises InputError with the first of it where strict.

    families: beginnings of the ids of rules that such a request can be wrong by; no others are imported.
    """
    found = [finding for finding in judge(subject, chosen(families)) if finding.grade >= WARN]
    if strict and found:
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(f"strict: {_line(found[0])}{more}")
    for finding in found:
        print(f"unnoise: {_line(finding)}", file=sys.stderr)


def _line(finding: Finding) -> str:
    return f"{NAMES[finding.grade]} {finding.rule.id}: {sentence(finding)}. {printable(finding.instead)}"
