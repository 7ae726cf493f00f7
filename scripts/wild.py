"""Run every rule of `unnoise check` over a folder of any files, and write a table to read. `make wild DIR` runs it.

The table of a folder of repositories shows how often a rule fires; read an example of each row to see whether it is
right. The lines below it count what could not be read, the crashes, and the runs whose family is known.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unnoise.check.engine import judge
from unnoise.check.references import load_subjects
from unnoise.check.report.text import NAMES, printable, sentence, where
from unnoise.check.rule import Finding, Severity
from unnoise.check.subject import Subject
from unnoise.errors import InputError

LONGEST = 150  # characters of an example
CRASH = "UN904"


@dataclass(slots=True)
class WildTotals:
    """Collect the findings of many files.

    Args:
        files: paths that were read
        unreadable: paths that could not be read
        runs, known: runs by tool, and those whose family is known
        rows: findings by rule and level
    """

    files: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[str, str, Severity], list[Finding]] = field(default_factory=lambda: defaultdict(list))

    def add(self, subject: Subject) -> None:
        """Judge a subject and count its findings and its runs."""
        self.files.add(subject.path)
        for finding in judge(subject):
            self.rows[finding.rule.id, finding.rule.name, finding.grade].append(finding)
            if finding.rule.id == "UN901":
                self.unreadable.add(subject.path)
        for run in subject.runs:
            self.runs[run.tool] += 1
            self.known[run.tool] += run.model is not None and run.model.identity.known


def read(folder: Path) -> WildTotals:
    """Check a folder; one without files of its own is a folder of repositories, each checked alone.

    Args:
        folder: with any files

    Returns:
        what was found
    """
    totals = WildTotals()
    inner = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    for path in [folder] if any(path.is_file() for path in inner) else inner:
        try:
            for subject in load_subjects([path]):
                totals.add(subject)
        except InputError:  # nothing to check
            continue
    return totals


def table(totals: WildTotals, folder: Path) -> Iterator[str]:
    """Write the table in Markdown, the most frequent findings of the highest level first.

    Args:
        totals: what was found
        folder: that the paths of examples are relative to

    Returns:
        its lines, and those of the counts
    """
    yield "| rule | level | count | files | an example |"
    yield "|---|---|---|---|---|"
    for (rule, name, level), found in sorted(totals.rows.items(), key=lambda row: (-row[0][2], -len(row[1]))):
        example = f"{where(found[0].place).removeprefix(f'{folder}/')}: {sentence(found[0])}"
        if len(example) > LONGEST:
            example = f"{example[:LONGEST]}…"
        files = len({one.place.path for one in found})
        yield f"| {rule} {name} | {NAMES[level]} | {len(found)} | {files} | {printable(example).replace('|', '¦')} |"
    yield ""
    yield from _counts(totals)


def _counts(totals: WildTotals) -> Iterator[str]:
    loud = sum(len(found) for (_, _, level), found in totals.rows.items() if level > Severity.NOTE)
    crashes = sum(len(found) for (rule, _, _), found in totals.rows.items() if rule == CRASH)
    unreadable = len(totals.unreadable)
    yield f"files: {len(totals.files)}, findings above a note: {loud}, crashes: {crashes}, unreadable: {unreadable}"
    for tool, number in totals.runs.most_common():
        yield f"runs of {tool or 'an unknown tool'}: {number}, family known: {_share(totals.known, tool, number)}"


def _share(known: Mapping[str, int], tool: str, number: int) -> str:
    return f"{known[tool]} ({known[tool] / number:.0%})"


def main(arguments: Sequence[str]) -> int:
    """Write the table of one folder; returns an exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("name one folder: make wild DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    print(*table(read(folder), folder), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
