"""The guidance scale is above the family's range: colours oversaturate and detail turns to noise.

Why: guidance moves x0 beyond the training data. On the embedded model, 12 steps, the deviation of x0 over that without
guidance is 1.09 at scale 1.5, 1.75 at 6, 2.4 at 8, 3.7 at 12 and 7.7 at 30; from 6 to 30 the share of clipped values
rises from 0.15 to 0.3 above that of the image without guidance.
Shown: the guidance scale and the range of the family's published examples.
Instead: lower it into the range, or keep it and rescale (`guidance_rescale=0.7`, ComfyUI's RescaleCFG). Nothing is
found where a node or an extension limits guidance, or guides at a few levels alone.
Fix: unsafe: write the highest scale of the range; the best one is a matter of taste.
Source: huggingface/diffusers#3664, #5646; Lin et al. 2023, arXiv:2305.08891, section 3.4; numbers measured here.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import few_steps
from unnoise.check.examples import infotext
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.rules.guidance._shared import guides_twice, limits_guidance, word
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN401", name="guidance-above-range", severity=WARN, checks="run")


def check(run: GenerationRun) -> Iterator[Finding]:
    facts = run.facts
    if run.guidance is None or facts is None or facts.guidance is None or few_steps(run):
        return
    if guides_twice(run) or limits_guidance(run):
        return  # UN404 checks the former
    low, high = facts.guidance
    if run.guidance.value > high:
        message = f"guidance is above the range of {facts.title} and oversaturates the image"
        suggestion = f"write {high:g} or less"
        fix = Fix.unsafe(run.guidance.place, high, f"{high:g}")
        measured = f"{word(run)} {run.guidance.value:g}"
        yield Finding(RULE, run.guidance.place, message, measured, f"{low:g} to {high:g}", suggestion, fix=fix)


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
