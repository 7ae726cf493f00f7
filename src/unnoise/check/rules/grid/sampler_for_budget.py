"""A first-order sampler, or one with two calls a step, where another sampler does better with as many calls.

Why: on exact mixtures the error of DDIM and Euler is 0.114 of the data's spread at 10 network calls and 0.049 at 20;
for DPM++ 2M it is 0.032 and 0.008; for PNDM, which makes one call more than it has steps, 0.076 and 0.024
(bench/samplers.py --all). DDPM is meant for 1000 steps and leaves visible noise below 100; at 25 or fewer it is a
warning, but a note in ComfyUI, whose `ddpm` draws from the exact posterior between its own levels, as Euler a does.
Heun and DPM2 make two calls a step.
Shown: the sampler and its number of calls.
Instead: DPM++ 2M for 10 to 30 steps; Euler a for its own style; DDIM for inversion or exact reproduction.
Fix: none; the sampler is your choice.
Source: Lu et al. 2022, arXiv:2211.01095, table 1; Ho et al. 2020, arXiv:2006.11239; ComfyUI,
comfy/k_diffusion/sampling.py, DDPMSampler_step; docs/bench.md.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import few_steps, may_be_distilled
from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN121", name="sampler-for-budget", severity=NOTE, checks="run", with_subject=True)
DDPM, NOISY = 100, 25  # fewest useful steps, and steps that surely leave noise
DOUBLE = 50  # steps from which two calls a step bring nothing
FEWEST = 10  # steps; fewer are checked by UN122
SLOW = {"ddim": 20, "pndm": 20, "euler": 12}  # up to so many steps, order 2 has at most half the error (measured)
INSTEAD = "use DPM++ 2M (DPMSolverMultistepScheduler, dpmpp_2m) with 10 to 30 steps"
KEPT = ("AnimateDiff", "PIA", "StableDiffusionDiffEdit", "StableDiffusionPix2PixZero", "LEdits", "TextToVideo")


def check(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    found, steps = run.sampler_facts, run.steps
    if found is None or steps is None or run.facts is None or run.facts.process != "ddpm" or few_steps(run):
        return
    place = run.sampler.place if run.sampler else run.schedule.place if run.schedule else steps.place
    if found.name == "ddpm" and _levels(run, steps.value) < DDPM:
        message = "DDPM is meant for 1000 steps and leaves noise with so few"
        sure = run.tool != "comfyui" and not _is_kept(run, subject)
        grade = WARN if steps.value <= NOISY and sure else NOTE
        yield Finding(RULE, place, message, f"{steps.value} steps", f"{DDPM} or more", INSTEAD, grade)
    elif found.queries > 1 and steps.value >= DOUBLE:
        message = f"{found.name} calls the network {found.queries} times a step"
        calls = f"{found.queries * steps.value} calls"
        yield Finding(RULE, place, message, calls, "20 to 50", "use half as many steps, or DPM++ 2M")
    elif FEWEST <= steps.value <= SLOW.get(found.name, 0) and run.task == "text" and not _is_kept(run, subject):
        message = f"{found.name} has a larger error than a multistep method of order 2 with as many calls"
        yield Finding(RULE, place, message, f"{found.name} with {steps.value} steps", "DPM++ 2M", INSTEAD)


def _levels(run: GenerationRun, steps: int) -> float:
    """Return the levels of a whole run as dense as this one; ComfyUI's steps are all done below the denoise."""
    part = run.strength.value if run.tool == "comfyui" and run.strength else 1
    return steps / part if 0 < part < 1 else steps


def _is_kept(run: GenerationRun, subject: Subject) -> bool:
    """Return whether there may be a reason for a sampler of first order: inversion, distillation, a motion adapter."""
    inverts = any("nver" in line for text in subject.texts.values() for line in text.split("\n") if "DDIM" in line)
    return inverts or run.pipeline.startswith(KEPT) or may_be_distilled(run, subject)


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
