"""Guidance is off on a model that needs it.

Why: without guidance an undistilled model draws from the whole distribution of its data: shapes are softer and prompts
are followed less. On the embedded model with 128 prompts and 20 steps, 87 % of the images show what the prompt names at
guidance scale 1, and 91 % at 1.5 and 2. Large models, whose data is far more diverse, gain more.
Shown: the guidance scale and the range of published examples.
Instead: a scale within the range, or a distilled model to avoid two calls a step.
Fix: none; it may be meant.
Source: Ho & Salimans 2022, arXiv:2207.12598; docs/models/emoji.md.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import may_be_distilled
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.rules.guidance._shared import word
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN409", name="guidance-off-on-base", severity=NOTE, checks="run", with_subject=True)
FEWEST = 16  # steps; with fewer the model may contain a merged distilled one, which tensors do not show


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    facts = run.facts
    if run.guidance is None or run.guidance.value > 1 or facts is None or facts.guidance is None or _is_few(run):
        return
    if may_be_distilled(run, subject):
        return
    if facts.distilled == "" and facts.modality == "image" and run.task == "text" and not run.adapters:
        low, high = facts.guidance
        message = f"guidance is off, and {facts.title} is not distilled to work without it"
        suggestion = "raise the guidance scale, or use a distilled model"
        measured = f"{word(run)} {run.guidance.value:g}"
        yield Finding(RULE, run.guidance.place, message, measured, f"above {low:g}, to {high:g}", suggestion)


def _is_few(run: GenerationRun) -> bool:
    method = run.sampler_facts
    return bool(method and method.distilled) or run.steps is None or run.steps.value < FEWEST


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: Euler, Schedule type: Normal, CFG scale: 1, Seed: 1, Size: 1024x1024, \
Model hash: 31e35c80fc, Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
        """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 25, Sampler: Euler, Schedule type: Normal, CFG scale: 7, Seed: 1, Size: 1024x1024, \
Model hash: 31e35c80fc, Model: sd_xl_base_1.0, RNG: CPU, Version: v1.10.1
        """)
