"""DDIM with linspace spacing: the length of a step differs from the distance between levels.

Why: diffusers' DDIM ends a step at `time - 1000 // n`, but linspace places the times 999 / (n - 1) apart. With 10 steps
that is 100 and 111, with 5 steps 200 and 250: no step ends at the level where the next one starts.
Shown: both distances.
Instead: timestep_spacing="trailing", or "leading" from 20 steps.
Fix: safe where the setting is written: write "trailing".
Source: diffusers, scheduling_ddim.py, step ("prev_timestep"); huggingface/diffusers#9261, #14357.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN107", name="linspace-stride-of-ddim", severity=WARN, checks="run")
CLASSES = ("DDIMScheduler", "DDIMParallelScheduler")
SURELY = 25  # steps: up to so many, the distances differ by 4 % and more


def check(run: GenerationRun) -> Iterator[Finding]:
    schedule = effective_schedule(run)
    if schedule is None or schedule.config.class_ not in CLASSES or run.steps is None or run.steps.value < 2:
        return
    setting = schedule.config.get("timestep_spacing")
    if setting is None or setting.value != "linspace" or run.pipeline.startswith(("AnimateDiff", "PIA")):
        return
    apart, long = 999 / (run.steps.value - 1), 1000 // run.steps.value
    message = f"{schedule.config.class_} takes steps whose length differs from the distance between its levels"
    severity = WARN if run.steps.value <= SURELY else NOTE
    suggestion = 'write timestep_spacing="trailing"'
    fix = Fix.safe(setting.place, "trailing", '"trailing"')
    yield Finding(RULE, setting.place, message, f"{long} of 1000", f"{apart:.0f} of 1000", suggestion, severity, fix)


def bad() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, set_alpha_to_one=True, timestep_spacing="linspace"
        )
        pipe("a lighthouse at dawn", num_inference_steps=24)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, set_alpha_to_one=True, timestep_spacing="trailing"
        )
        pipe("a lighthouse at dawn", num_inference_steps=24)
    """)
