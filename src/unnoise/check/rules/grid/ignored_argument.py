"""An argument of the call that the sampler does not read.

Why: diffusers' pipelines pass `eta` only to schedulers whose step takes it: DDIM and its relatives. With any other
scheduler the call accepts it without effect: 0 pixels differ between eta=0 and eta=1.
Shown: the argument and the scheduler in use.
Instead: remove it, or set a DDIMScheduler.
Fix: none.
Source: diffusers, pipeline_stable_diffusion.py, prepare_extra_step_kwargs; huggingface/diffusers#14353.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule
from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.grid._shared import is_own
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import step_accepts

RULE = Rule(id="UN110", name="ignored-argument", severity=WARN, checks="run")
ARGUMENT = "eta"


def check(run: GenerationRun) -> Iterator[Finding]:
    argument, schedule = run.others.get(ARGUMENT), effective_schedule(run)
    if run.tool != "diffusers" or argument is None or schedule is None or argument.value in (0, None):
        return
    if run.schedule is None and not is_own(run.pipeline):
        return
    if not isinstance(argument.value, int | float) or step_accepts(schedule.config.class_, ARGUMENT):
        return
    message = f"{schedule.config.class_} does not read {ARGUMENT}"
    suggestion = "remove it, or set DDIMScheduler.from_config(pipe.scheduler.config)"
    yield Finding(RULE, argument.place, message, f"eta={argument.value}", "0, or DDIM", suggestion)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=50, eta=1.0)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn", num_inference_steps=50)
    """)
