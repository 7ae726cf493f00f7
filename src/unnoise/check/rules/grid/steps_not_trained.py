"""A student of `unnoise distill` draws in a number of steps that it was not trained for.

Why: a student jumps from each level of its own to the next. With another number of steps its levels are those of
ordinary sampling, at which it was never trained; more steps then give no better image. SDXL-Lightning has a file each
for 1, 2, 4 and 8 steps, and its card asks for the one of the number that is used.
Shown: the steps, and the numbers that the card of the student names.
Instead: one of these numbers; the teacher for more steps.
Fix: none; more steps are faster or better in another model.
Source: Lin et al. 2024, arXiv:2402.13929, section 3 and its model card; docs/distillation.md.
"""

from collections.abc import Iterator

from unnoise.check.examples import request_on_student
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN125", name="steps-not-trained", severity=WARN, checks="run")


def check(run: GenerationRun) -> Iterator[Finding]:
    trained = [steps for steps, *_ in run.facts.trained] if run.facts else []
    if not trained or run.steps is None or run.steps.value in trained or "strength" in run.others:
        return
    nearest = min(trained, key=lambda steps: abs(steps - run.steps.value))  # type: ignore[union-attr]
    message = f"{run.facts.title if run.facts else ''} was not trained for this number of steps"
    expected = f"{', '.join(map(str, trained))} steps"
    yield Finding(RULE, run.steps.place, message, f"{run.steps.value} steps", expected, f"use {nearest} steps")


def bad() -> Subject:
    return request_on_student(steps=3)


def good() -> Subject:
    return request_on_student(steps=4)
