"""Run rules over subjects: `judge` one, or `check` whatever a person names."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.check.catalogue import chosen, entry
from unnoise.check.locate import located
from unnoise.check.rule import Entry, Finding
from unnoise.check.subject import Fault, Place, Subject
from unnoise.check.suppress import is_shown

if TYPE_CHECKING:
    from unnoise.pipeline import Pipeline

MOST = 200  # findings of one rule in one subject


def check(
    what: "Subject | Pipeline | str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    models: str | os.PathLike[str] | None = None,
) -> list[Finding]:
    """Find what is silently wrong in files, folders, a subject, or a loaded pipeline, which is then also probed.

    select, ignore: ids of rules or their beginnings, such as "UN4"; models: a folder where files that are only named
    are looked for. Several paths are checked as belonging together. Raises InputError where a path is missing or an id
    unknown.
    """
    rules = chosen(select, ignore)
    if isinstance(what, Subject):
        return judge(what, rules)
    if isinstance(what, str | os.PathLike):
        what = [what]
    elif not isinstance(what, Iterable):
        from unnoise.check.probe import probe

        return judge(probe(what), rules)
    from unnoise.check.link import linked

    subjects = linked([Path(path) for path in what], None if models is None else Path(models))
    return [finding for subject in subjects for finding in judge(subject, rules)]


def judge(subject: Subject, rules: Sequence[Entry] | None = None) -> list[Finding]:
    """Run rules, or all of them, over a subject. A rule that crashes is itself a finding, and the others still run."""
    found: list[Finding] = []
    crashes: list[Fault] = []
    for one in chosen() if rules is None else rules:
        found += _run(one, subject, crashes)
    if crashes:
        found += entry("UN904").check(Subject(path=subject.path, faults=tuple(crashes)))
    kept = (located(finding, subject) for finding in dict.fromkeys(found))
    return sorted((one for one in kept if is_shown(one, subject)), key=_order)


def _run(one: Entry, subject: Subject, crashes: list[Fault]) -> Iterator[Finding]:
    try:
        return iter(list(islice(one.check(subject), MOST)))
    except Exception as error:
        says = f"{one.rule.id} {one.rule.name}: {type(error).__name__}: {error}"
        crashes.append(Fault("crash", Place(subject.path), says[:300]))
        return iter(())


def _order(finding: Finding) -> tuple[Any, ...]:
    place = finding.place
    return place.path, place.line or 0, place.column or 0, finding.rule.id, str(place.keys)
