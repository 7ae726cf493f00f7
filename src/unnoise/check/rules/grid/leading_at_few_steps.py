"""Leading spacing of few steps: the run starts in the middle of the noise.

Why: with `leading` spacing the first of n steps is at time 1000 - 1000/n + 1, but x is pure noise. At 4 steps that is
time 751 with sigma 4.1, 28 % of the 14.6 that x stands for; at 8 steps 50 %, at 20 steps 75 %. The picture stays grey
or noisy.
Shown: the level of the first call, as a share of the highest.
Instead: timestep_spacing="trailing".
Fix: safe where the setting is said: write "trailing".
Source: diffusers, scheduling_euler_discrete.py, set_timesteps; Lin et al. 2023, arXiv:2305.08891, table 2.
"""

from collections.abc import Iterator
from math import sqrt

from unnoise.check.acting import acting, distilled
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN106", name="leading-at-few-steps", severity=WARN)
FEW, SURELY = 12, 8  # steps: below, the first level is under 65 % and 50 % of the highest
OWN = ("LCMScheduler", "TCDScheduler", "DDPMWuerstchenScheduler")  # these take their times from another grid


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        schedule = acting(run)
        if schedule is None or run.steps is None or schedule.config.class_ in OWN or "timesteps" in run.others:
            continue
        if not 0 < run.steps.value <= FEW or schedule.get("timestep_spacing") != "leading" or run.task != "text":
            continue
        share = _share(run.steps.value)
        said = run.schedule.get("timestep_spacing") if run.schedule else None
        yield Finding(
            RULE,
            said.place if said else run.steps.place,
            f"{run.steps.value} steps with leading spacing start far below the noise that x holds",
            f"{share:.0%} of the highest level",
            "100 %",
            'write timestep_spacing="trailing"',
            WARN if run.steps.value <= SURELY or distilled(run) else NOTE,
        )


def _share(steps: int) -> float:
    """Give the first level of leading spacing as a share of the highest, for Stable Diffusion's betas."""
    first = (1000 // steps) * (steps - 1) + 1
    return _sigma(first) / _sigma(999)


def _sigma(time: int) -> float:
    kept = 1.0
    for index in range(time + 1):
        kept *= 1 - (sqrt(0.00085) + index / 999 * (sqrt(0.012) - sqrt(0.00085))) ** 2
    return sqrt((1 - kept) / kept)


def fix(subject: Subject, finding: Finding) -> Fix | None:
    said = [run.schedule.get("timestep_spacing") for run in subject.runs if run.schedule]
    if any(one is not None and one.place.same(finding.place) for one in said):
        return Fix("safe", 'write "trailing"', (Change(finding.place, "trailing"),))
    return Fix("show", 'write timestep_spacing="trailing"')


def bad() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="leading")
        pipe("a lighthouse at dawn", num_inference_steps=4, guidance_scale=0)
    """)


def good() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
        pipe("a lighthouse at dawn", num_inference_steps=4, guidance_scale=0)
    """)
