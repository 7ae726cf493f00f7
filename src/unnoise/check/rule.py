"""A rule, what it finds, and how that is mended. docs/contributing.md says how to write one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from types import ModuleType
from typing import Any, Literal

from unnoise.check.subject import Place, Subject


class Severity(IntEnum):
    """Grade a finding: worth knowing; the output is worse than it could be; it is broken, or not what was asked."""

    NOTE = 0
    WARN = 1
    ERROR = 2


NOTE, WARN, ERROR = Severity


class Needs(IntEnum):
    """Say what a rule reads: headers and texts; a few tensors; seeded calls of the network; the data set."""

    HEADER = 0
    WEIGHTS = 1
    PROBE = 2
    DATA = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """Name a rule. id: UN and three digits, never used again; name: reads as "allow ..."; severity: its usual one."""

    id: str
    name: str
    severity: Severity
    needs: Needs = Needs.HEADER


@dataclass(frozen=True, slots=True)
class Finding:
    """Say what is wrong where, with the number that shows it.

    says: one sentence without a full stop; measured, expected: a number or a value each, in words as short as can be;
    instead: what to write or do, in the words of the tool whose file it is; severity: None is the rule's.
    """

    rule: Rule
    place: Place
    says: str
    measured: str
    expected: str
    instead: str
    severity: Severity | None = None

    @property
    def grade(self) -> Severity:
        return self.rule.severity if self.severity is None else self.severity


@dataclass(frozen=True, slots=True)
class Change:
    """Write `value` where `place` is now; `place` is that of something said in a text."""

    place: Place
    value: Any


@dataclass(frozen=True, slots=True)
class Fix:
    """Mend a finding. safe: means the same picture, only right; unsafe: a choice that is the user's; show: in words."""

    kind: Literal["safe", "unsafe", "show"]
    says: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold a rule with its functions and its page, as its module under `check/rules/` defines them."""

    rule: Rule
    module: ModuleType

    @property
    def check(self) -> Callable[[Subject], Iterator[Finding]]:
        return self.module.check

    @property
    def fix(self) -> Callable[[Subject, Finding], Fix | None] | None:
        return getattr(self.module, "fix", None)

    @property
    def page(self) -> str:
        return self.module.__doc__ or ""
