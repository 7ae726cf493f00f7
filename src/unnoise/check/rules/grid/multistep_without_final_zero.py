"""DPM-Solver++ with few steps ends above zero noise.

Why: with final_sigmas_type="sigma_min" the last step ends at sigma 0.029 instead of 0, and the remaining noise is
decoded. On SDXL with fewer than 30 steps it is visible as speckle, most of all with Karras levels.
Shown: the sigma at which the run ends.
Instead: final_sigmas_type="zero", or euler_at_final=True.
Fix: safe: write "zero".
Source: huggingface/diffusers#5433, #6477; diffusers, scheduling_dpmsolver_multistep.py, final_sigmas_type.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject
from unnoise.families.facts import facts

RULE = Rule(id="UN116", name="multistep-without-final-zero", severity=WARN, checks="run")
KEY = "final_sigmas_type"
FEW = 30


def check(run: GenerationRun) -> Iterator[Finding]:
    schedule = effective_schedule(run)
    setting = schedule.config.get(KEY) if schedule else None
    if schedule is None or setting is None or setting.value != "sigma_min" or schedule.get("euler_at_final"):
        return
    known = facts(schedule.identity)
    if run.steps is not None and run.steps.value < FEW and known is not None and known.process == "ddpm":
        message = f"{run.steps.value} steps end above sigma 0 and leave noise in the image"
        fix = Fix.safe(setting.place, "zero", '"zero"')
        suggestion = 'write final_sigmas_type="zero"'
        yield Finding(RULE, setting.place, message, "an end at sigma 0.029", "0", suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, use_karras_sigmas=True, final_sigmas_type="sigma_min"
        )
        pipe("a lighthouse at dawn", num_inference_steps=20)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, use_karras_sigmas=True, final_sigmas_type="zero"
        )
        pipe("a lighthouse at dawn", num_inference_steps=20)
    """)
