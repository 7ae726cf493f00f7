"""A file that is of no kind that is known here.

Why: silence would be taken for soundness; of this file, 0 facts were found.
Shown: what was looked for.
Instead: name the model, workflow, image, script or training file that is meant.
Fix: none.
Source: this program.
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN903", name="nothing-recognised", severity=NOTE, checks="fault")
EXPECTED = "a model, LoRA, workflow, image with its record, script or training file"


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "unknown":
        message = f"nothing here was checked, it {fault.message}"
        yield Finding(RULE, fault.place, message, "not recognised", EXPECTED, "name another file")


def bad() -> Subject:
    return infotext("a cat on a mat")


def good() -> Subject:
    return infotext("""
        a cat on a mat
        Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10.1
    """)
