"""As many steps of sampling as the model was trained with.

Why: 1000 is the number of noise levels that Stable Diffusion was trained on, not of steps to take. On exact mixtures
the error of DPM-Solver++ 2M is 0.008 of the data's spread at 20 steps and 0.003 at 50 (bench/samplers.py --all), so
950 of 1000 network calls change nothing that can be seen.
Shown: the steps that are asked for, beside the most that the family is meant for.
Instead: 20 to 50 steps; of a distilled model 1 to 8.
Fix: unsafe: write the most that the family is meant for, at most 50.
Source: Ho et al. 2020, arXiv:2006.11239, section 4 (T = 1000); Lu et al. 2022, arXiv:2211.01095, figure 3.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Place, Run, Subject

RULE = Rule(id="UN101", name="training-steps-as-steps", severity=WARN)
TRAINED = 1000  # levels in training of every DDPM-like model that is known here
ENOUGH = 50
STEPS, LEVELS = "num_inference_steps", ".num_train_timesteps"


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        found = _asked(run, subject)
        if found is None or run.facts is None or run.facts.steps is None:
            continue
        most = min(run.facts.steps[1], ENOUGH)
        says = f"the number of levels in training is taken for steps of {run.facts.title}"
        made_for_it = run.method is not None and run.method.name == "ddpm"
        grade = NOTE if made_for_it else WARN
        yield Finding(RULE, found[1], says, found[0], f"at most {most}", f"take {most} steps", grade)


def _asked(run: Run, subject: Subject) -> tuple[str, Place] | None:
    """Give the steps that are too many, in words; a script may also take them from the scheduler's settings."""
    if run.steps is not None:
        return (f"{run.steps.value} steps", run.steps.place) if run.steps.value >= TRAINED else None
    said = run.others.get(STEPS)
    if said is None or subject.script is None or said.place.line is None or said.place.path != subject.script.path:
        return None
    line = subject.script.lines[said.place.line - 1] if said.place.line <= len(subject.script.lines) else ""
    shown = line[said.place.column : said.place.end_column] if said.place.end_line == said.place.line else ""
    return (shown[-60:], said.place) if shown.endswith(LEVELS) else None


def fix(subject: Subject, finding: Finding) -> Fix | None:
    for run in subject.runs:
        found = _asked(run, subject)
        if found is not None and found[1].same(finding.place) and run.facts and run.facts.steps:
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
