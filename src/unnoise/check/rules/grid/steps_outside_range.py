"""Steps far from what the model was made for.

Why: a model distilled to 1 to 8 steps was never trained on more levels: with 30 or 50 its pictures get flat and
over-sharp. On exact mixtures an undistilled model has an error of 0.07 to 0.20 of the data's spread at 5 calls, by
sampler (bench/samplers.py --all).
Shown: the steps, beside the model's range.
Instead: a number within the range, or a few-step LoRA for the undistilled model.
Fix: unsafe: write the nearest number of the range.
Source: Sauer et al. 2023, arXiv:2311.17042; Lin et al. 2024, arXiv:2402.13929; docs/bench.md.
"""

from collections.abc import Iterator

from unnoise.check.acting import may_be_distilled
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Run, Subject
from unnoise.families.facts import facts

RULE = Rule(id="UN122", name="steps-outside-range", severity=WARN)
TRAINED = 1000  # from here it is another mistake, UN101
WARM_UP = 1  # a step that official examples take before they measure
SLACK = 2  # times the most steps, and a half of the fewest, are still no warning


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        bounds = _bounds(run, subject)
        if bounds is None or run.steps is None:
            continue
        title, low, high = bounds
        steps = run.steps.value
        warm_up = WARM_UP if high == TRAINED and run.tool == "diffusers" else 0
        if low <= steps <= high or not warm_up < steps < TRAINED:
            continue
        says = f"{title} was made for {'fewer' if steps > high else 'more'} steps"
        slack = SLACK if run.facts and run.facts.distilled else 1
        clear = run.task == "text" and (steps > slack * high or steps * SLACK < low)
        nearest = high if steps > high else low
        expected = f"at least {low}" if high == TRAINED else f"{low} to {high}"
        instead = f"take {nearest} steps"
        yield Finding(RULE, run.steps.place, says, f"{steps} steps", expected, instead, WARN if clear else NOTE)


def _bounds(run: Run, subject: Subject) -> tuple[str, int, int] | None:
    """Give what sets the range of steps, and the range; None where it is not known."""
    known = run.facts
    if known is None or known.steps is None or {"timesteps", "sigmas"} & set(run.others):
        return None
    if known.distilled == "steps":
        return known.title, *known.steps
    adapted = [
        (use.adapter.name[:60], found.steps)
        for use in run.adapters
        if (found := facts(use.adapter.identity)) and found.distilled == "steps" and found.steps
    ]
    if len(adapted) == 1:
        ((name, range_),) = adapted
        return name, 1, SLACK * range_[1]
    if run.task != "text" or adapted or may_be_distilled(run, subject):
        return None
    return known.title, known.steps[0], TRAINED  # more than enough is of other rules


def fix(subject: Subject, finding: Finding) -> Fix | None:
    nearest = int(finding.instead.split()[1])
    return Fix("unsafe", f"write {nearest}", (Change(finding.place, nearest),))


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
