"""A sampler, or a spacing, that the tool does not have.

Why: ComfyUI's loop falls back to "euler" and "simple" for names that it does not know, AUTOMATIC1111 to what is
nearest: of what was asked, 0 steps are taken.
Shown: the name, and the nearest that the tool has.
Instead: write a name of the tool's list.
Fix: none; the name is your choice.
Source: ComfyUI, comfy/samplers.py, calculate_sigmas and KSampler; AUTOMATIC1111/stable-diffusion-webui,
sd_samplers.py.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from unnoise.check.examples import infotext
from unnoise.check.methods import known_grids, known_names, method
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import Said, Subject

RULE = Rule(id="UN115", name="unknown-sampler", severity=WARN)


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.sampler is not None and method(run.tool, run.sampler.value) is None:
            yield from _unknown(run.sampler, known_names(run.tool), "sampler", run.tool)
        if run.grid is not None:
            yield from _unknown(run.grid, known_grids(run.tool), "spacing", run.tool)


def _unknown(said: Said[str], known: frozenset[str], what: str, tool: str) -> Iterator[Finding]:
    """Warn of a misspelt name; one that is far from all may be of an extension, and is worth a note."""
    if not known or said.value.lower() in {name.lower() for name in known} or not said.value:
        return
    near = get_close_matches(said.value, sorted(known), n=1, cutoff=0.8)
    instead = f"write {near[0]!r}" if near else "see that the extension is installed that brings it"
    grade = WARN if near else NOTE
    says = f"{tool} itself has no {what} of this name"
    yield Finding(RULE, said.place, says, said.value[:60], near[0] if near else "a known name", instead, grade)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: DPM++ 2N, CFG scale: 7, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)
