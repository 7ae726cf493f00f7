"""A rule of this program crashed on a file; the other rules still ran.

Why: a rule that stops silently would count as a rule without findings: 1 crash can hide any number of them.
Shown: the rule and the error.
Instead: report it, with the file if possible; ignore the rule until it is corrected.
Fix: none.
Source: this program.
"""

from collections.abc import Iterator

from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import Location, ReadFault, Subject

RULE = Rule(id="UN904", name="rule-crashed", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "crash":
        message = "a rule crashed here; its findings are unknown"
        yield Finding(RULE, fault.place, message, fault.message, "no error", "report this as a bug in unnoise")


def bad() -> Subject:
    fault = ReadFault("crash", Location("workflow.json"), "UN401 guidance-above-range: TypeError: 'NoneType'")
    return Subject(path="workflow.json", faults=(fault,))


def good() -> Subject:
    return Subject(path="workflow.json")
