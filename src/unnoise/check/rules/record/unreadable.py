"""The file is broken or cannot be read.

Why: most broken files are truncated downloads. If only the last byte of 7 GB is missing, a loader stops or fills the
rest with arbitrary memory. In a notebook with 1 cell that is not Python the others are checked; that is a note, and so
is syntax newer than the running Python.
Shown: the line or the byte where reading stopped.
Instead: download or write the file again.
Fix: none.
Source: https://github.com/safetensors/safetensors, README, "Format"; RFC 8259; the grammar of Python.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, NOTE, Finding, Rule
from unnoise.check.rules.record._shared import is_of_shards
from unnoise.check.subject import ReadFault, Subject

PARTIAL = "correct it, or check it with the version of Python that it is written for"
RULE = Rule(id="UN901", name="unreadable", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "partial":
        yield Finding(RULE, fault.place, "a part of this file was not checked", fault.message, "Python", PARTIAL, NOTE)
    if fault.kind in ("unreadable", "broken") and not is_of_shards(fault):
        message = "this file, or a part of it, cannot be read"
        yield Finding(RULE, fault.place, message, fault.message, "a complete file", "write or download it again")


def bad() -> Subject:
    return script("""
        from diffusers import FluxPipeline
        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev"
    """)


def good() -> Subject:
    return script("""
        from diffusers import FluxPipeline
        pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev")
    """)
