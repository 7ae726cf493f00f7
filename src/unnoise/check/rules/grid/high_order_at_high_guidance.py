"""A multistep sampler of higher order under strong guidance.

Why: a multistep method extrapolates from past answers; strong guidance makes these change fast, and the extrapolation
overshoots. From a weight of about 14 DPM-Solver++ of order 2 was reported to diverge where Euler did not.
Shown: weight and order.
Instead: a lower weight, guidance rescale, or a sampler of order 1.
Fix: none; the weight is your choice.
Source: huggingface/diffusers#5646; Lu et al. 2022, arXiv:2211.01095, section 3.2 (instability under large guidance).
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN117", name="high-order-at-high-guidance", severity=NOTE, checks="run")
HIGH = 12.0  # a weight; families whose range ends below have UN401


def check(run: GenerationRun) -> Iterator[Finding]:
    known, found = run.facts, run.sampler_facts
    if known is None or known.guidance is None or run.guidance is None or found is None or found.queries > 1:
        return
    if HIGH < run.guidance.value <= known.guidance[1] and found.order >= 2:
        message = f"{found.name} extrapolates, which strong guidance makes unstable"
        measured = f"guidance {run.guidance.value:g} at order {found.order}"
        suggestion = "lower the guidance, or take Euler, or rescale the guidance"
        yield Finding(RULE, run.guidance.place, message, measured, f"at most {HIGH:g}", suggestion)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: DPM++ 2M, CFG scale: 14, Seed: 1, Size: 512x512, Model: v1-5-pruned, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x512, Model: v1-5-pruned, Version: v1.10.1
    """)
