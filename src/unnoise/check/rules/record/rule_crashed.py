"""A rule of this program that crashed on a file; the other rules still ran.

Why: a rule that stops silently is taken for a rule that found nothing: 1 crash may hide any number of findings.
Shown: the rule, and the error.
Instead: report it, with the file if you may; ignore the rule until then.
Fix: none.
Source: this program.
"""

from collections.abc import Iterator

from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import Location, ReadFault, Subject

RULE = Rule(id="UN904", name="rule-crashed", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "crash":
        message = "a rule crashed here, what it would have found is not known"
        yield Finding(RULE, fault.place, message, fault.message, "no error", "report this as a fault of unnoise")


def bad() -> Subject:
    fault = ReadFault("crash", Location("workflow.json"), "UN401 guidance-above-range: TypeError: 'NoneType'")
    return Subject(path="workflow.json", faults=(fault,))


def good() -> Subject:
    return Subject(path="workflow.json")
