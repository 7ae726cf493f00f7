"""A file that is broken or cannot be read.

Why: a truncated download is the commonest broken file: of 7 GB the last byte may be missing, and a loader then stops,
or fills what is missing with whatever is in memory.
Shown: the line, or the byte, where reading ended.
Instead: download or write the file again.
Fix: none.
Source: https://github.com/safetensors/safetensors, README, "Format"; RFC 8259; the grammar of Python.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.record._shared import is_of_shards
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN901", name="unreadable", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind in ("unreadable", "broken") and not is_of_shards(fault):
        message = "this cannot be read"
        yield Finding(RULE, fault.place, message, fault.message, "a whole file", "write or download it again")


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
