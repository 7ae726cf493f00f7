"""Check a request before anything heavy is loaded: what `unnoise check` warns of is printed, or refused."""

import sys
from collections.abc import Sequence

from unnoise.check.catalogue import chosen
from unnoise.check.engine import judge
from unnoise.check.report.text import NAMES, printable, sentence
from unnoise.check.rule import WARN, Finding
from unnoise.check.subject import Subject
from unnoise.errors import InputError


def preflight(subjects: Sequence[Subject], strict: bool, quiet: bool, *families: str) -> None:
    """Print on stderr what is probably not meant, one line each; arguments as for `findings`, quiet prints nothing."""
    lines = findings(subjects, strict, *families)
    for line in [] if quiet else lines:
        print(f"unnoise: {line}", file=sys.stderr)


def findings(subjects: Sequence[Subject], strict: bool, *families: str) -> list[str]:
    """Return what is probably not meant, one line each.

    Args:
        subjects: the requests.
        strict: raise InputError with the first finding.
        families: beginnings of the ids of the rules; no others are imported.
    """
    rules = chosen(families)
    found = [finding for subject in subjects for finding in judge(subject, rules) if finding.grade >= WARN]
    lines = list(dict.fromkeys(map(_line, found)))
    if strict and lines:
        more = f" ({len(lines) - 1} more)" if len(lines) > 1 else ""
        raise InputError(f"strict: {lines[0]}{more}")
    return lines


def _line(finding: Finding) -> str:
    return f"{NAMES[finding.grade]} {finding.rule.id}: {sentence(finding)}. {printable(finding.suggestion)}"
