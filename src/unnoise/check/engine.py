"""Run rules over subjects: `judge` for one subject, `check` for files, folders and pipelines."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from unnoise.check.apply_fixes import at_argument, offered
from unnoise.check.catalogue import chosen, entry
from unnoise.check.items import Items
from unnoise.check.locate import located
from unnoise.check.merge_sweeps import merged
from unnoise.check.notebook_places import in_cell
from unnoise.check.rule import Finding, RuleEntry
from unnoise.check.subject import Location, ReadFault, Subject
from unnoise.check.suppress import is_shown
from unnoise.errors import InputError, checked_path, quoted

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
    """Find silent mistakes in files, folders, a subject or a loaded pipeline.

    Args:
        what: a path, several paths that belong together, a subject, or a pipeline, which is probed with a few calls
        select: ids of the rules to run or their beginnings, such as "UN4"; empty for all
        ignore: ids of rules to leave out, or their beginnings
        models: a folder that is searched for the models that the files name

    Returns:
        the findings, each with its fix

    Raises:
        InputError: a path does not exist, or no rule has such an id
    """
    rules = chosen(select, ignore)
    if isinstance(what, Subject):
        return judge(what, rules)
    if isinstance(what, str | os.PathLike):
        what = [what]
    elif not isinstance(what, Iterable):
        from unnoise.check.probe import probe
        from unnoise.components import Components

        if not isinstance(what, Components):
            raise InputError(f"check {quoted(what)}: a path, several paths, or a loaded pipeline")
        return judge(probe(what), rules)
    from unnoise.check.references import load_subjects

    subjects = load_subjects(
        [checked_path("check", path) for path in what], None if models is None else checked_path("models", models)
    )
    return [finding for subject in subjects for finding in judge(subject, rules)]


def judge(subject: Subject, rules: Sequence[RuleEntry] | None = None) -> list[Finding]:
    """Run rules over one subject.

    Args:
        subject: what is checked
        rules: None for all rules

    Returns:
        the findings in the order of their places, each with its fix. A rule that crashes is a finding of UN904, and
        the other rules still run. A comment in the text can suppress a finding. The wrong values of one list of a
        script are one finding.
    """
    items = Items(subject)
    found: list[Finding] = []
    crashes: list[ReadFault] = []
    for rule in chosen() if rules is None else rules:
        found += _run(rule, subject, items, crashes)
    if crashes:
        failed = Subject(path=subject.path, faults=tuple(crashes))
        found += run_rule(entry("UN904"), failed)
    placed = [one for finding in dict.fromkeys(found) if is_shown(one := located(finding, subject), subject)]
    moved = [one for finding in placed if is_shown(one := at_argument(finding, subject), subject)]
    shown = sorted(merged([offered(one, subject) for one in moved], subject), key=_order)
    return [replace(one, place=in_cell(one.place, subject.notebook)) for one in shown] if subject.notebook else shown


def run_rule(one: RuleEntry, subject: Subject, items: Items | None = None) -> list[Finding]:
    """Run one rule over every item of a subject that it checks.

    Args:
        one: the rule
        subject: what is checked
        items: the items of the subject, if they are listed already

    Returns:
        at most 200 findings, as the rule returns them

    Raises:
        Exception: whatever the rule raises
    """
    listed = (items or Items(subject)).of(one.rule)
    if not listed:
        return []
    return list(islice((finding for item in listed for finding in one.check(*item)), MOST))


def _run(one: RuleEntry, subject: Subject, items: Items, crashes: list[ReadFault]) -> list[Finding]:
    try:
        return run_rule(one, subject, items)
    except Exception as error:
        message = f"{one.rule.id} {one.rule.name}: {type(error).__name__}: {error}"
        crashes.append(ReadFault("crash", Location(subject.path), message[:300]))
        return []


def _order(finding: Finding) -> tuple[Any, ...]:
    place = finding.place
    return place.path, place.line or 0, place.column or 0, finding.rule.id, str(place.keys)
