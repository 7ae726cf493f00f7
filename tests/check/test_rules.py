"""Every rule: its two examples, its fix, its page. A new file under check/rules/ is tested without a line here."""

import re
import runpy
from pathlib import Path

import pytest

from unnoise.check.apply_fixes import apply_fixes
from unnoise.check.catalogue import FOLDERS, rules
from unnoise.check.engine import judge
from unnoise.check.page import LABELS, TITLES, sections
from unnoise.check.read.dispatch import read_text
from unnoise.check.rule import Finding, Fix, RuleEntry
from unnoise.check.subject import Subject

ROOT = Path(__file__).resolve().parents[2]
every = pytest.mark.parametrize("one", rules(), ids=lambda one: one.rule.id)


def ids(findings: list[Finding]) -> set[str]:
    return {finding.rule.id for finding in findings}


@every
def test_bad_fires_exactly_this_rule(one: RuleEntry) -> None:
    found = judge(one.module.bad())
    assert ids(found) == {one.rule.id}, "\n".join(f"{finding.rule.id}: {finding.message}" for finding in found)
    for finding in found:
        assert finding.measured, finding
        assert finding.expected, finding
        assert finding.suggestion, finding
        assert not finding.message.endswith("."), finding


@every
def test_good_fires_no_rule(one: RuleEntry) -> None:
    found = judge(one.module.good())
    assert not found, "\n".join(f"{finding.rule.id}: {finding.message}: {finding.measured}" for finding in found)


def again(subject: Subject, texts: dict[str, str]) -> Subject:
    """Read the mended text of a subject that is one text."""
    assert len(texts) == 1, "an example with a fix is one text"
    path, text = next(iter(texts.items()))
    return read_text(text, Path(path))


def offers(one: RuleEntry, subject: Subject) -> list[Fix]:
    return [finding.fix for finding in judge(subject, [one]) if finding.fix is not None]


FIXED = [one for one in rules() if not sections(one)["Fix"].startswith("none")]


@every
def test_a_rule_without_a_fix_offers_none(one: RuleEntry) -> None:
    assert one in FIXED or not offers(one, one.module.bad())


@pytest.mark.parametrize("one", FIXED, ids=lambda one: one.rule.id)
def test_fix_leaves_the_subject_clean(one: RuleEntry) -> None:
    subject = one.module.bad()
    fixes = offers(one, subject)
    assert fixes, "a rule with a fix offers it for its own example"
    assert all(fix.message for fix in fixes)
    changing = [fix for fix in fixes if fix.kind != "show"]
    if changing:
        clean = again(subject, apply_fixes(subject, changing))
        assert not judge(clean, [one])
        assert not apply_fixes(clean, offers(one, clean))


@every
def test_rule_is_laid_out_as_all_are(one: RuleEntry) -> None:
    rule, parts = one.rule, sections(one)
    assert re.fullmatch(r"UN[1-9]\d\d", rule.id)
    path = Path(one.module.__file__ or "")
    assert path.stem == rule.name.replace("-", "_")
    assert path.parent.name == FOLDERS[rule.id[:3]]
    assert list(parts) == ["", *LABELS]
    assert all(parts.values())
    assert re.search(r"\d", parts["Why"]), "Why needs a number"


def test_ids_and_names_are_unique() -> None:
    assert list(TITLES) == list(FOLDERS)
    assert len({one.rule.id for one in rules()}) == len({one.rule.name for one in rules()}) == len(rules()) >= 60


def test_pages_are_fresh() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "rule_pages.py"))["pages"]()
    written = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "rules").glob("*.md")}
    stale = sorted(name for name in {*pages, *written} if pages.get(name) != written.get(name))
    assert not stale, f"stale pages, run `make rules`: {stale}"


def test_documents_count_the_rules() -> None:
    for name in ("README.md", "CHANGELOG.md"):
        assert f"{len(rules())} rules" in (ROOT / name).read_text(encoding="utf-8"), name
