"""A multistep sampler of order 2 or more runs with strong guidance.

Why: a multistep method extrapolates from past predictions. Strong guidance makes these change fast, and the
extrapolation overshoots. From a guidance scale of about 14, DPM-Solver++ of order 2 was reported to diverge; Euler did
not.
Shown: guidance scale and order.
Instead: a lower guidance scale, guidance rescale, or a sampler of order 1.
Fix: none; the guidance scale is your choice.
Source: huggingface/diffusers#5646; Lu et al. 2022, arXiv:2211.01095, section 3.2 (instability under large guidance).
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN117", name="high-order-at-high-guidance", severity=NOTE, checks="run")
HIGH = 12.0  # guidance scale; families whose range ends below it are checked by UN401


def check(run: GenerationRun) -> Iterator[Finding]:
    known, found = run.facts, run.sampler_facts
    if known is None or known.guidance is None or run.guidance is None or found is None or found.queries > 1:
        return
    if HIGH < run.guidance.value <= known.guidance[1] and found.order >= 2:
        message = f"{found.name} extrapolates and is unstable under strong guidance"
        measured = f"guidance {run.guidance.value:g} at order {found.order}"
        suggestion = "lower the guidance scale, rescale the guidance, or use Euler"
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
