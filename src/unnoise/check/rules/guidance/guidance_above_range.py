"""Guidance above what the family takes: colours burn, contours harden, detail turns to noise.

Why: guidance pushes x0 past what the model ever saw. On the embedded model, 12 steps, the deviation of x0 over that
without guidance is 1.09 at weight 1.5, 1.75 at 6, 2.4 at 8, 3.7 at 12 and 7.7 at 30; from 6 to 30 the share of clipped
values doubles from 0.15 to 0.3 above the plain picture's.
Shown: the weight, beside the range of published examples of the family.
Instead: lower it into the range, or keep it and rescale (`guidance_rescale=0.7`, ComfyUI's RescaleCFG).
Fix: unsafe: the highest weight of the range; which one is best is a matter of taste.
Source: huggingface/diffusers#3664, #5646; Lin et al. 2023, arXiv:2305.08891, section 3.4; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.acting import few_steps
from unnoise.check.examples import infotext
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import word
from unnoise.check.subject import Subject

RULE = Rule(id="UN401", name="guidance-above-range", severity=WARN)


def check(subject: Subject) -> Iterator[Finding]:
    """Compare the weight of every run with the range of its family."""
    for run in subject.runs:
        facts = run.facts
        if run.guidance is None or facts is None or facts.guidance is None or few_steps(run):
            continue
        low, high = facts.guidance
        if run.guidance.value > high:
            yield Finding(
                RULE,
                run.guidance.place,
                says=f"guidance is above what {facts.title} takes, and burns its colours",
                measured=f"{word(run)} {run.guidance.value:g}",
                expected=f"{low:g} to {high:g}",
                instead=f"write {high:g} or less",
            )


def fix(subject: Subject, finding: Finding) -> Fix | None:
    high = float(finding.instead.split()[1])
    return Fix("unsafe", f"write {high:g}", (Change(finding.place, high),))


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 25, Seed: 1, Size: 512x512, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, Version: v1.10.1
        """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, Version: v1.10.1
        """)
