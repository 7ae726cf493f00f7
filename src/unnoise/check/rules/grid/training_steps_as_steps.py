"""As many steps of sampling as the model was trained with.

Why: 1000 is the number of noise levels that Stable Diffusion was trained on, not of steps to take. On exact mixtures
the error of 50 steps of DPM-Solver++ 2M is already below a thousandth of the data's spread (docs/bench.md), so 950 of
1000 network calls change nothing that can be seen.
Shown: the steps that are asked for, beside the most that the family is meant for.
Instead: 20 to 50 steps; of a distilled model 1 to 8.
Fix: unsafe: write the most that the family is meant for, at most 50.
Source: Ho et al. 2020, arXiv:2006.11239, section 4 (T = 1000); Lu et al. 2022, arXiv:2211.01095, figure 3.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN101", name="training-steps-as-steps", severity=WARN)
TRAINED = 1000  # levels in training of every DDPM-like model that is known here
ENOUGH = 50


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.steps is None or run.facts is None or run.facts.steps is None or run.steps.value < TRAINED:
            continue
        most = min(run.facts.steps[1], ENOUGH)
        says = f"the number of levels in training is taken for steps of {run.facts.title}"
        yield Finding(RULE, run.steps.place, says, f"{run.steps.value} steps", f"at most {most}", f"take {most} steps")


def fix(subject: Subject, finding: Finding) -> Fix | None:
    for run in subject.runs:
        if run.steps is not None and run.steps.place.same(finding.place) and run.facts and run.facts.steps:
            most = min(run.facts.steps[1], ENOUGH)
            return Fix("unsafe", f"write {most}", (Change(finding.place, most),))
    return None


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=1000)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=40)
    """)
