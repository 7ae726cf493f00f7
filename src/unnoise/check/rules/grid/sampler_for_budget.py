"""A sampler of first order, or of two calls a step, where another makes better use of the same calls.

Why: on exact mixtures diffusers' DDIM is 2 to 4 times further from the limit than the best multistep method at 10 and
20 calls (docs/bench.md). DDPM, made for 1000 steps, leaves visible noise below 100. Heun and DPM2 spend two calls a
step.
Shown: the sampler, and its calls.
Instead: DPM++ 2M for 10 to 30 steps; Euler a for a look of its own; DDIM where it must be inverted or reproduced.
Fix: none; the sampler is your choice.
Source: Lu et al. 2022, arXiv:2211.01095, table 1; Ho et al. 2020, arXiv:2006.11239; docs/bench.md.
"""

from collections.abc import Iterator

from unnoise.check.acting import distilled
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN121", name="sampler-for-budget", severity=NOTE)
DDPM = 100  # steps that it takes at least
INSTEAD = "take DPM++ 2M (DPMSolverMultistepScheduler, dpmpp_2m) for 10 to 30 steps"


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        found, steps = run.method, run.steps
        if found is None or steps is None or run.facts is None or run.facts.process != "ddpm" or distilled(run):
            continue
        place = run.sampler.place if run.sampler else run.schedule.place if run.schedule else steps.place
        if found.name == "ddpm" and steps.value < DDPM:
            says = "DDPM was made for 1000 steps and leaves noise with so few"
            yield Finding(RULE, place, says, f"{steps.value} steps", f"{DDPM} or more", INSTEAD)
        elif found.queries > 1 and steps.value >= 50:
            says = f"{found.name} calls the network {found.queries} times a step"
            calls = f"{found.queries * steps.value} calls"
            yield Finding(RULE, place, says, calls, "20 to 50", "take half as many steps, or DPM++ 2M")


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 60, Sampler: Heun, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)
