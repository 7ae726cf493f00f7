"""DDIM is built from the configuration of another class, with keys that the other class does not read.

Why: the published configuration of SDXL is for Euler and contains `set_alpha_to_one: false`, which Euler does not read.
DDIM reads it: the last step then ends at sigma 0.029 instead of 0, and that noise is decoded.
Shown: where the last step ends.
Instead: set_alpha_to_one=True in `from_config`.
Fix: show: what to write.
Source: huggingface/diffusers#6068; diffusers, scheduling_ddim.py, final_alpha_cumprod.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts

RULE = Rule(id="UN108", name="inherited-keys", severity=NOTE, checks="schedule")
KEY = "set_alpha_to_one"


def check(schedule: EffectiveSchedule) -> Iterator[Finding]:
    config = schedule.config
    if not config.before or config.complete or config.get(KEY) is not None or not accepts(config.class_, KEY):
        return
    if not accepts(config.before, KEY) and schedule.get(KEY) is False and config.class_.startswith("DDIM"):
        message = f"{config.class_} inherits a setting that {config.before} never read"
        fix = Fix.show("write set_alpha_to_one=True")
        yield Finding(RULE, config.place, message, "an end at sigma 0.029", "0", "write set_alpha_to_one=True", fix=fix)


def bad() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True
        )
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)
