"""Zero terminal SNR is set on a scheduler without that setting, or not set for a model trained with it.

Why: only some of diffusers' schedulers rescale their betas. PNDM, Heun, LMS, DEIS and KDPM2 silently drop the flag: the
last level is then sigma 14.6 instead of infinity, and very dark or very bright images are impossible.
Shown: the class and those with the setting.
Instead: DDIM, Euler, DPM-Solver++ multistep or UniPC.
Fix: none; the class is your choice.
Source: diffusers, configuration_utils.py, extract_init_dict; Lin et al. 2023, arXiv:2305.08891, algorithm 1.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts, defaults

RULE = Rule(id="UN104", name="zero-snr-ignored", severity=WARN, checks="schedule")
FLAG = "rescale_betas_zero_snr"
CLASSES = "DDIMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler or UniPCMultistepScheduler"


def check(schedule: EffectiveSchedule) -> Iterator[Finding]:
    config, setting = schedule.config, schedule.config.get(FLAG)
    if not defaults(config.class_) or not accepts(config.class_, "beta_start"):
        return
    able = accepts(config.class_, FLAG)
    if setting is not None and setting.value is True and not able:
        message = f"{config.class_} has no setting for zero terminal SNR and drops it"
        yield Finding(RULE, setting.place, message, f"{FLAG}=True", "a class with this setting", f"use {CLASSES}")
    elif schedule.run is not None and schedule.identity.zero_snr and schedule.get(FLAG) is (False if able else None):
        message = "the model was trained with zero terminal SNR; the scheduler starts at sigma 14.6"
        shown = f"{FLAG}=False" if able else f"{config.class_}, which has no such setting"
        yield Finding(RULE, schedule.place, message, shown, f"{FLAG}=True", f"write {FLAG}=True in {CLASSES}")


def bad() -> Subject:
    return script("""
        from diffusers import HeunDiscreteScheduler, StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("ptx0/pseudo-journey-v2")
        pipe.scheduler = HeunDiscreteScheduler.from_config(
            pipe.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
        pipe("a lighthouse at night", guidance_rescale=0.7)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("ptx0/pseudo-journey-v2")
        pipe.scheduler = DDIMScheduler.from_config(
            pipe.scheduler.config, rescale_betas_zero_snr=True, timestep_spacing="trailing"
        )
        pipe("a lighthouse at night", guidance_rescale=0.7)
    """)
