"""The number of steps is far outside the model's range.

Why: a model distilled to 1 to 8 steps was never trained on more levels: with 30 or 50 steps its images become flat and
over-sharp. On exact mixtures an undistilled model has an error of 0.07 to 0.20 of the data's spread at 5 calls,
depending on the sampler (bench/samplers.py --all).
Too few steps are a note in a script that only tries whether its code works: in a function that is named a test, or
where the image is only measured or thrown away; and in a workflow that is named a warm-up or is in a folder of tests.
Shown: the steps and the model's range.
Instead: a number within the range, or a few-step LoRA for the undistilled model.
Fix: unsafe: write the nearest number of the range; for a LoRA, the number in its name, or the most of its card. It is
only shown where other settings count in these steps, as start_at_step and end_at_step do in ComfyUI.
Source: Sauer et al. 2023, arXiv:2311.17042; Lin et al. 2024, arXiv:2402.13929; docs/bench.md.
"""

import re
from collections.abc import Iterator

from unnoise.check.effective_settings import is_weak, may_be_distilled
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject
from unnoise.families.facts import facts

RULE = Rule(id="UN122", name="steps-outside-range", severity=WARN, checks="run", with_subject=True)
TRAINED = 1000  # from here on UN101 checks it
WARM_UP = 1  # step of a warm-up run in official examples
STATED = re.compile(r"(?<!\d)(\d\d?)[-_ ]?steps?(?![a-z])", re.IGNORECASE)  # in a name
SLACK = 2  # up to twice the most steps, and down to half the fewest, it is a note


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    bounds = _bounds(run, subject)
    if bounds is None or run.steps is None:
        return
    title, low, high, most = bounds
    steps = run.steps.value
    warm_up = WARM_UP if high == TRAINED and run.tool == "diffusers" else 0
    if low <= steps <= high or not warm_up < steps < TRAINED:
        return
    message = f"{title} is meant for {'fewer' if steps > high else 'more'} steps"
    slack = SLACK if run.facts and run.facts.distilled else 1
    clear = run.task == "text" and not (run.trial and steps < low) and (steps > slack * high or steps * SLACK < low)
    nearest = most if steps > high else low
    expected = f"at least {low}" if high == TRAINED else f"{low} to {high}"
    suggestion, fix = f"use {nearest} steps", Fix.unsafe(run.steps.place, nearest)
    fix = Fix.show(suggestion) if _is_a_part(run, steps) else fix
    yield Finding(RULE, run.steps.place, message, f"{steps} steps", expected, suggestion, WARN if clear else NOTE, fix)


def _is_a_part(run: GenerationRun, steps: int) -> bool:
    """Return whether a sampler of ComfyUI runs some of the steps, the others being those of another one."""
    begin, end = (run.others.get(key) for key in ("start_at_step", "end_at_step"))
    if run.pipeline == "KSamplerAdvanced" and (begin is None or end is None):
        return True
    return (begin is not None and begin.value != 0) or (end is not None and not end.value >= steps)


def _bounds(run: GenerationRun, subject: Subject) -> tuple[str, int, int, int] | None:
    """Return the model or adapter that sets the range of steps, the range, and its most; None if unknown."""
    known = run.facts
    if known is None or known.steps is None or known.trained or {"timesteps", "sigmas"} & set(run.others):
        return None  # UN125 checks the students of unnoise
    if known.distilled == "steps":
        return known.title, *known.steps, known.steps[1]
    adapted = [
        (use.adapter.name[:60], found.steps)
        for use in run.adapters
        if not is_weak(use) and (found := facts(use.adapter.identity)) and found.distilled == "steps" and found.steps
    ]
    if len(adapted) == 1:
        ((name, range_),) = adapted
        stated = STATED.search(name)
        return name, 1, SLACK * range_[1], min(range_[1], int(stated[1])) if stated else range_[1]
    if run.task != "text" or adapted or may_be_distilled(run, subject):
        return None
    return known.title, known.steps[0], TRAINED, TRAINED  # other rules check for too many


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: Euler a, CFG scale: 1, Seed: 1, Size: 512x512, Model: sd_xl_turbo_1.0_fp16, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 4, Sampler: Euler a, CFG scale: 1, Seed: 1, Size: 512x512, Model: sd_xl_turbo_1.0_fp16, Version: v1.10.1
    """)
