"""Findings as text for people: the place, the rule, the numbers, the line itself and the suggestion."""

from collections import Counter
from collections.abc import Callable, Sequence

from unnoise.check.catalogue import entry
from unnoise.check.page import sections
from unnoise.check.rule import ERROR, NOTE, WARN, Finding, Fix, Severity
from unnoise.check.subject import Location
from unnoise.errors import shortened

NAMES = {ERROR: "error", WARN: "warning", NOTE: "note"}
COLOURS = {ERROR: "31", WARN: "33", NOTE: "36"}
Paint = Callable[[str, str], str]
WIDEST = 160  # characters of a line that are shown
LEAST = 20  # of them on each side of a long value
CUT = "…"


def where(place: Location) -> str:
    """Write a place as `path:line:column`, or with the keys in the file if it has no lines."""
    if place.line is not None:
        cell = f":cell {int(place.keys[1]) + 1}" if place.keys[:1] == ("cells",) else ""
        return f"{place.path}{cell}:{place.line}" + (f":{place.column + 1}" if place.column is not None else "")
    return ": ".join(part for part in (place.path, keys(place)) if part)


def keys(place: Location) -> str:
    """Write the keys of a place as `3.inputs.cfg`."""
    return printable(".".join(map(str, place.keys)))[:WIDEST]


def sentence(finding: Finding) -> str:
    """Write a finding as one line: its message, the measured and the expected value."""
    return shortened(f"{finding.message}: {finding.measured}, expected {finding.expected}")


def printable(text: str) -> str:
    """Escape control characters, which a terminal would execute."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def plain(text: str, colour: str) -> str:
    """Return a text without colour."""
    return text


def coloured(text: str, colour: str) -> str:
    """Colour a text.

    Args:
        text: the text
        colour: number of an ANSI attribute

    Returns:
        the text with escape sequences around it
    """
    return f"\x1b[{colour}m{text}\x1b[0m"


def render(finding: Finding, text: str | None, paint: Paint = plain, explain: bool = False) -> str:
    """Write a finding over several lines.

    Args:
        finding: the finding
        text: of its file; None where the file has no lines to show
        paint: colours a text
        explain: add the reason and the source

    Returns:
        lines, without a line end after the last
    """
    head = f"{paint(where(finding.place), '1')}: {paint(finding.rule.id, COLOURS[finding.grade])} "
    lines = [f"{head}{NAMES[finding.grade]}: {sentence(finding)}", *_excerpt(finding.place, text, paint)]
    lines.append(f"  {paint('=', '34')} {printable(finding.suggestion)}{_offer(finding.fix)}")
    if explain:
        parts = sections(entry(finding.rule.id))
        lines += [f"    {line}" for line in f"{parts['Why']}\nSource: {parts['Source']}".splitlines()]
    return "\n".join(lines)


def _offer(fix: Fix | None) -> str:
    offers = {"safe": " [--fix: {}]", "unsafe": " [--fix --unsafe: {}]"}
    return offers[fix.kind].format(printable(fix.message)) if fix and fix.kind in offers else ""


def _excerpt(place: Location, text: str | None, paint: Paint) -> list[str]:
    if text is None or place.line is None or place.column is None:
        return []
    lines = text.split("\n")
    if not 0 < place.line <= len(lines):
        return []
    line = lines[place.line - 1].replace("\t", " ")
    end = place.end_column if place.end_line == place.line and place.end_column else len(line)
    end = min(max(end, place.column), len(line))
    before, value, after = map(printable, _cut(line[: place.column], line[place.column : end], line[end:]))
    margin = " " * len(str(place.line))
    bar = paint("|", "34")
    marks = " " * len(before) + paint("^" * max(1, len(value)), "33")
    return [f"  {paint(str(place.line), '34')} {bar} {before}{value}{after}", f"  {margin} {bar} {marks}"]


def _cut(before: str, value: str, after: str) -> tuple[str, str, str]:
    """Cut a line that is too wide around the value in it: the value is whole if it fits, else its beginning."""
    if len(before) + len(value) + len(after) <= WIDEST:
        return before, value, after
    if len(value) > WIDEST - 2 * LEAST:
        value, after = value[: WIDEST - 2 * LEAST] + CUT, ""
    room = WIDEST - len(value)
    left = min(len(before), max(room // 2, room - len(after)))
    right = room - left
    before = before if len(before) <= left else CUT + before[len(before) - left + 1 :]
    after = after if len(after) <= right else after[: right - 1] + CUT
    return before, value, after


def summary(findings: Sequence[Finding], files: int, seconds: float) -> str:
    """Write the closing line.

    Args:
        findings: shown
        files: number of files that were checked
        seconds: duration

    Returns:
        the number of findings by severity, and how many of them --fix corrects
    """
    counted = f"{files} file{'s' * (files != 1)} checked in {seconds:.2f} s"
    if not findings:
        return f"Nothing found: {counted}."
    grades = Counter(finding.grade for finding in findings)
    parts = [_count(grades[grade], NAMES[grade]) for grade in sorted(Severity, reverse=True) if grades[grade]]
    kinds = Counter(finding.fix.kind for finding in findings if finding.fix)
    offers = [f"--fix mends {kinds['safe']}"] if kinds["safe"] else []
    offers += [f"--fix --unsafe mends {kinds['unsafe']}{' more' * bool(offers)}"] if kinds["unsafe"] else []
    return " ".join([f"Found {', '.join(parts)}: {counted}.", *(f"{', '.join(offers)}." for _ in offers[:1])])


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
