"""The file is of no known kind.

Why: without this note the file would seem to be without faults, but 0 of its facts were checked.
Shown: the known kinds of files.
Instead: name the intended model, workflow, image, script or training file.
Fix: none.
Source: this program.
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN903", name="nothing-recognised", severity=NOTE, checks="fault")
EXPECTED = "a model, LoRA, workflow, image with metadata, script or training file"


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "unknown":
        message = f"nothing was checked: this {fault.message}"
        yield Finding(RULE, fault.place, message, "not recognised", EXPECTED, "name another file")


def bad() -> Subject:
    return infotext("a cat on a mat")


def good() -> Subject:
    return infotext("""
        a cat on a mat
        Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10.1
    """)
