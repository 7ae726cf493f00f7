"""The betas are not those the model was trained with.

Why: a bare `DDPMScheduler()` has linear betas from 0.0001 to 0.02: its last level is sigma 157; Stable Diffusion was
trained up to 14.6. Linear betas between the right ends give 25.1. Each level then has the wrong time, and colours and
background stay noisy.
Shown: the betas in use with the highest sigma, and those of the family.
Instead: load the scheduler's settings from the model: `Scheduler.from_config(pipe.scheduler.config)`.
Fix: show: the settings to write.
Source: CompVis/stable-diffusion, v1-inference.yaml; diffusers, scheduling_ddpm.py, defaults; huggingface/peft#421.
"""

from collections.abc import Iterator
from math import sqrt

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts
from unnoise.families.facts import facts

RULE = Rule(id="UN102", name="wrong-betas", severity=WARN, checks="schedule", with_subject=True)
KEYS = ("beta_schedule", "beta_start", "beta_end")
LEGACY = (0.02, 0.085)  # checked by UN103
TRAINED = 1000


def check(schedule: EffectiveSchedule, subject: Subject) -> Iterator[Finding]:
    known = facts(schedule.identity)
    if known is None or known.betas is None or not accepts(schedule.config.class_, "beta_start"):
        return
    if schedule.get("trained_betas") is not None:
        return
    found = tuple(schedule.get(key) for key in KEYS)
    if None in found or found == known.betas or found[1:] == LEGACY or _adapts(schedule, subject):
        return
    shown = _shown(found)
    if shown is None:
        return
    setting = schedule.config.get("beta_schedule") or schedule.config.get("beta_start")
    suggestion = f"write beta_schedule={known.betas[0]!r}, beta_start={known.betas[1]}, beta_end={known.betas[2]}"
    message = f"{known.title} was not trained with these betas"
    fix = Fix.show(suggestion)
    expected = _shown(known.betas) or ""
    yield Finding(RULE, setting.place if setting else schedule.place, message, shown, expected, suggestion, fix=fix)


def _adapts(schedule: EffectiveSchedule, subject: Subject) -> bool:
    """Return whether a motion adapter replaces the schedule, or an upscaler has its own levels."""
    run = schedule.run
    if run is not None:
        return (
            run.pipeline.startswith(("AnimateDiff", "PIA"))
            or "Upscale" in run.pipeline
            or "motion_adapter" in run.others
        )
    return any(config.role in ("motion_adapter", "low_res_scheduler") for config in subject.configs)


def _shown(betas: tuple[object, ...]) -> str | None:
    name, start, end = betas
    if not isinstance(start, float | int) or not isinstance(end, float | int) or not 0 < start <= end < 1:
        return None
    if name not in ("linear", "scaled_linear"):
        return str(name)[:40]
    return f"{name} {start:g} to {end:g}, sigma up to {last_level(str(name), start, end):.1f}"


def last_level(name: str, start: float, end: float) -> float:
    """Return the noise-to-signal ratio of the last of 1000 levels.   Source: diffusers, scheduling_ddpm.py."""
    kept = 1.0
    for index in range(TRAINED):
        share = index / (TRAINED - 1)
        root = sqrt(start) + share * (sqrt(end) - sqrt(start))
        kept *= 1 - (root**2 if name == "scaled_linear" else start + share * (end - start))
    return sqrt((1 - kept) / kept)


def bad() -> Subject:
    return script("""
        from diffusers import DDPMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDPMScheduler()
        pipe("a lighthouse at dawn", num_inference_steps=100)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDPMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=100)
    """)
