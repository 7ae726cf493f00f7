"""Rules, findings and fixes: the types of every module under `check/rules/`. docs/contributing.md has a guide."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType
from typing import Any, Literal

from unnoise.check.subject import Location, Tool

# The argument of a rule's check function. The engine calls it once for each such item of a subject.
Checks = Literal[
    "subject", "run", "schedule", "training", "weights", "script", "lora file", "lora", "controlnet", "embedding",
    "mask", "dataset", "measured", "fault",
]  # fmt: skip


class Severity(IntEnum):
    """Grade a finding: worth knowing; the output is worse than possible; the output is broken or wrong."""

    NOTE = 0
    WARN = 1
    ERROR = 2


NOTE, WARN, ERROR = Severity


class Needs(IntEnum):
    """Grade the input of a rule: headers and texts; a few tensors; seeded calls of the network; the data set."""

    HEADER = 0
    WEIGHTS = 1
    PROBE = 2
    DATA = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """Declare a rule and what it checks.

    Args:
        id: UN and three digits; an id is never used again
        name: reads as "allow ..."
        severity: the usual severity of its findings
        needs: the input that has to be read before the rule can run
        checks: the items of a subject that its check function receives, one per call
        tools: for runs, adapters and trainings: only those of these tools; empty for all tools
        with_subject: the check function receives the whole subject as its last argument
    """

    id: str
    name: str
    severity: Severity
    needs: Needs = Needs.HEADER
    checks: Checks = "subject"
    tools: tuple[Tool, ...] = ()
    with_subject: bool = False


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Replace the value at `place` in a text by `value`."""

    place: Location
    value: Any


@dataclass(frozen=True, slots=True)
class Fix:
    """Correct a finding.

    Args:
        kind: "safe" keeps the meaning of the file, "unsafe" makes a choice for the user, "show" changes nothing
        message: the text that is written, or that the user has to write
        changes: empty for "show"
    """

    kind: Literal["safe", "unsafe", "show"]
    message: str
    changes: tuple[Rewrite, ...] = ()

    @classmethod
    def safe(cls, place: Location, value: Any, shown: str = "") -> "Fix":
        """Write a value that keeps the meaning of the file.

        Args:
            place: the value that is replaced
            value: the new value
            shown: the new value in words; empty for `value` itself

        Returns:
            the fix
        """
        return cls("safe", f"write {shown or value}", (Rewrite(place, value),))

    @classmethod
    def unsafe(cls, place: Location, value: Any, shown: str = "") -> "Fix":
        """Write a value that is the user's choice. The arguments are those of `safe`."""
        return cls("unsafe", f"write {shown or value}", (Rewrite(place, value),))

    @classmethod
    def show(cls, message: str) -> "Fix":
        """Show what to write and change nothing."""
        return cls("show", message)


@dataclass(frozen=True, slots=True)
class Finding:
    """Report a problem with the number that shows it.

    Args:
        rule: that found it
        place: the value that is wrong
        message: one sentence without a full stop
        measured: the number or value that was found, as short as possible
        expected: the number or value that is right
        suggestion: the text to write or the action, in the terms of the file's tool
        severity: None for the severity of the rule
        fix: the correction of exactly this finding; findings that differ only in it are equal
    """

    rule: Rule
    place: Location
    message: str
    measured: str
    expected: str
    suggestion: str
    severity: Severity | None = None
    fix: Fix | None = field(default=None, compare=False)

    @property
    def grade(self) -> Severity:
        return self.rule.severity if self.severity is None else self.severity


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """Hold a rule and its module under `check/rules/`."""

    rule: Rule
    module: ModuleType

    @property
    def check(self) -> Callable[..., Iterator[Finding]]:
        return self.module.check

    @property
    def page(self) -> str:
        return self.module.__doc__ or ""
