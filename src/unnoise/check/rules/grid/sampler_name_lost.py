"""A setting of other schedulers that this one drops, so that another sampler runs than the one intended.

Why: "Euler a Karras" cannot be written as `EulerAncestralDiscreteScheduler.from_config(..., use_karras_sigmas=True)`:
that class has no such setting, accepts it, and samples on its own levels: 0 of its levels change. The same happens with
`flow_shift` on FlowMatchEuler, whose setting is `shift`, and with AUTOMATIC1111's schedule type under DDIM.
Shown: the setting and the class that drops it.
Instead: use a class that has the setting, or this class's own name for it.
Fix: none; which of the two is meant is not known.
Source: diffusers, configuration_utils.py, extract_init_dict; huggingface/diffusers#5002;
AUTOMATIC1111/stable-diffusion-webui, modules/sd_samplers_timesteps.py, get_timesteps.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import schedules
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts, classes, defaults

RULE = Rule(id="UN118", name="sampler-name-lost", severity=WARN)
# Settings that change the levels or the update, and so the image; other keys in saved files do not matter.
ACTING = {
    "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "flow_shift",
    "shift", "timestep_spacing", "algorithm_type", "solver_order", "solver_type", "final_sigmas_type", "euler_at_final",
    "use_dynamic_shifting",
}  # fmt: skip
TIMED = ("DDIM", "PLMS", "UniPC", "DDIM CFG++")  # of AUTOMATIC1111: they have no schedule type
PLAIN = ("Automatic", "automatic", "Uniform", "uniform", "DDIM", "ddim")
USUAL = ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler")
WORDS = {"flow_shift": "shift", "shift": "flow_shift"}


def check(subject: Subject) -> Iterator[Finding]:
    for schedule in schedules(subject):
        class_ = schedule.config.class_
        if schedule.run is None or defaults(class_) is None:
            continue
        for key, setting in schedule.config.settings.items():
            if key not in ACTING or accepts(class_, key) or setting.value in (False, None):
                continue
            word = WORDS.get(key, "")
            others = [name for name in (*USUAL, *classes.CLASSES) if key in (defaults(name) or ())]
            suggestion = f"write {word}={setting.value!r}" if word and accepts(class_, word) else f"use {others[0]}"
            message = f"{class_} has no {key} and drops it"
            yield Finding(RULE, setting.place, message, f"{key}={setting.value!r}"[:80], "a class with it", suggestion)
    for run in subject.runs:
        if run.tool in ("a1111", "forge") and run.sampler is not None and run.sampler.value in TIMED:
            grid = run.grid.value if run.grid else "Automatic"
            if run.grid is not None and grid not in PLAIN:
                message = f"{run.sampler.value} has its own times and ignores the schedule type"
                suggestion = f"leave it at Automatic, or use DPM++ 2M for {grid}"
                yield Finding(RULE, run.grid.place, message, grid[:60], "Automatic", suggestion, NOTE)


def bad() -> Subject:
    return script("""
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
        pipe("a lighthouse at dawn", num_inference_steps=30)
    """)


def good() -> Subject:
    return script("""
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
        pipe("a lighthouse at dawn", num_inference_steps=30)
    """)
