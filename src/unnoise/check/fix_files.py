"""Fix files until nothing is left to fix, in memory: what is written or shown is the end.

A fix is trusted only if the text after it differs in nothing but the values that it names, and if the file, checked
again, has fewer or milder findings.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unnoise.check.apply_fixes import FixedFiles, apply_fixes, file_text
from unnoise.check.compare_texts import only_changes
from unnoise.check.engine import MOST
from unnoise.check.references import load_subjects
from unnoise.check.rule import NOTE, Finding
from unnoise.check.subject import Subject

ROUNDS = 10  # of fixes at most
SINGLY = 50  # fixes of a file that are tried one after the other
Find = Callable[[Subject], Sequence[Finding]]


def fix_files(paths: Sequence[Path], models: Path | None, find: Find, kinds: Sequence[str]) -> FixedFiles:
    """Apply fixes to files, without writing them.

    Args:
        paths: files and folders
        models: a folder where models are searched
        find: returns the findings of a subject
        kinds: of the fixes to apply: "safe", "unsafe"

    Returns:
        the texts
    """
    fixed = FixedFiles()
    refused: set[tuple[str, str]] = set()
    again = _Again(paths, models, find, kinds)
    for _ in range(ROUNDS):
        count = fixed.count
        for subject in load_subjects(paths, models, dict(fixed.after)):
            solved = [one for one in again.fixable(find(subject)) if (subject.path, str(one.fix)) not in refused]
            refused |= {(subject.path, str(one.fix)) for one in _apply(subject, solved, fixed, again)}
        if fixed.count == count:
            break
    return fixed


@dataclass(frozen=True, slots=True)
class _Again:
    """Check one file again.

    Args:
        paths, models: as the user named them, since files that are named together are related
        find: returns the findings of a subject
        kinds: of the fixes to apply
    """

    paths: Sequence[Path]
    models: Path | None
    find: Find
    kinds: Sequence[str]

    def fixable(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return the findings whose fix is applied."""
        return [one for one in findings if one.fix is not None and one.fix.kind in self.kinds]

    def subject(self, path: str, texts: Mapping[str, str]) -> Subject | None:
        """Read a file with other texts; None where it is not read any more."""
        named = [one for one in self.paths if not one.is_dir()] if Path(path) in self.paths else []
        folders = [one for one in self.paths if one.is_dir()]
        found = load_subjects(named or [Path(path)], self.models, texts, folders)
        return next((subject for subject in found if subject.path == path), None)

    def is_better(self, before: Subject, after: Subject, solved: Sequence[Finding]) -> bool:
        """Return whether the solved findings are gone, and whether new ones are notes, or are fixed next."""
        old, new = self.find(before), self.find(after)
        were, are = (Counter(one.rule.id for one in found) for found in (old, new))
        gone = Counter(one.rule.id for one in solved)
        if any(are[id] > were[id] - count for id, count in gone.items() if were[id] < MOST):
            return False
        more = [one for one in new if are[one.rule.id] > were[one.rule.id]]
        left = len(more) - len(self.fixable(more))
        if left and any(one.grade > NOTE for one in more):
            return False
        return _weight(new) < _weight(old) or (not left and len(more) > 0)


def _weight(findings: Sequence[Finding]) -> int:
    return sum(1 + 4 * one.grade for one in findings)


def _apply(subject: Subject, solved: Sequence[Finding], fixed: FixedFiles, again: _Again) -> list[Finding]:
    """Apply the fixes of findings of a file all together, else one after the other; list those left out."""
    if not solved or _accept(subject, solved, fixed, again):
        return []
    left = list(solved)
    for finding in solved[:SINGLY] if len(solved) > 1 else ():
        now = again.subject(subject.path, fixed.after)
        same = next((one for one in again.fixable(again.find(now)) if one.fix == finding.fix), None) if now else None
        if now is not None and same is not None and _accept(now, [same], fixed, again):
            left.remove(finding)
    return left


def _accept(subject: Subject, solved: Sequence[Finding], fixed: FixedFiles, again: _Again) -> bool:
    """Apply the fixes of findings to a file if the result can be trusted."""
    fixes = [one.fix for one in solved if one.fix is not None]
    texts = apply_fixes(subject, fixes)
    changes = [change for fix in fixes for change in fix.changes]
    for path, text in texts.items():
        if not only_changes(subject, text, path, [change for change in changes if change.place.path == path]):
            return False
    after = again.subject(subject.path, {**fixed.after, **texts}) if texts else None
    if after is None or not again.is_better(subject, after, solved):
        return False
    for path, text in texts.items():
        fixed.before.setdefault(path, file_text(subject, path))
        fixed.after[path] = text
    fixed.count += len(solved)
    return True
