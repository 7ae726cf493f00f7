"""The number of sampling steps is the number of noise levels in training.

Why: Stable Diffusion was trained on 1000 noise levels; sampling needs far fewer steps. On exact mixtures the error of
DPM-Solver++ 2M is 0.008 of the data's spread at 20 steps and 0.003 at 50 (bench/samplers.py --all), so 950 of 1000
network calls change nothing visible.
Shown: the steps of the run and the largest number the family is meant for.
Instead: 20 to 50 steps; 1 to 8 for a distilled model.
Fix: unsafe: write the largest number the family is meant for, at most 50.
Source: Ho et al. 2020, arXiv:2006.11239, section 4 (T = 1000); Lu et al. 2022, arXiv:2211.01095, figure 3.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Location, Subject

RULE = Rule(id="UN101", name="training-steps-as-steps", severity=WARN, checks="run", with_subject=True)
TRAINED = 1000  # noise levels in training of every known DDPM-like model
ENOUGH = 50
STEPS, LEVELS = "num_inference_steps", ".num_train_timesteps"


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    found = _requested(run, subject)
    if found is None or run.facts is None or run.facts.steps is None:
        return
    most = min(run.facts.steps[1], ENOUGH)
    message = f"{run.facts.title} is sampled with the number of its noise levels in training"
    is_ddpm = run.sampler_facts is not None and run.sampler_facts.name == "ddpm"
    grade = NOTE if is_ddpm else WARN
    fix = Fix.unsafe(found[1], most)
    yield Finding(RULE, found[1], message, found[0], f"at most {most}", f"use {most} steps", grade, fix)


def _requested(run: GenerationRun, subject: Subject) -> tuple[str, Location] | None:
    """Return the steps in words, if they are too many; a script may also read them from the scheduler."""
    if run.steps is not None:
        return (f"{run.steps.value} steps", run.steps.place) if run.steps.value >= TRAINED else None
    stated, script = run.others.get(STEPS), subject.script
    if stated is None or script is None or stated.place.line is None or stated.place.path != script.path:
        return None
    line = script.lines[stated.place.line - 1] if stated.place.line <= len(script.lines) else ""
    shown = line[stated.place.column : stated.place.end_column] if stated.place.end_line == stated.place.line else ""
    return (shown[-60:], stated.place) if shown.endswith(LEVELS) else None


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
