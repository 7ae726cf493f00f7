"""A single file is loaded with arguments that select the betas of an old loader, 0.02 to 0.085.

Why: `from_single_file(..., prediction_type=...)` without `original_config` builds the scheduler of Stable Diffusion 1
and 2 in separate code, with betas of 0.02 to 0.085, and also changes the defaults of later loads. After 100 of 1000
levels 0.104 of the signal's power is left; it should be 0.894.
Shown: the argument, or the betas.
Instead: load without it, and set `pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config,
prediction_type=...)`.
Fix: safe where the betas are written: write those of Stable Diffusion.
Source: diffusers, loaders/single_file_utils.py, create_diffusers_scheduler and its defaults;
huggingface/diffusers#9229.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import schedules
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rewrite, Rule
from unnoise.check.subject import Location, Subject

RULE = Rule(id="UN103", name="betas-of-the-legacy-loader", severity=ERROR)
LEGACY = (0.02, 0.085)
ARGUMENTS = ("from_single_file.prediction_type", "from_single_file.scheduler_type")
CONFIG = "from_single_file.original_config"
INSTEAD = "load without it, then set the scheduler with from_config(pipe.scheduler.config, prediction_type=...)"


def check(subject: Subject) -> Iterator[Finding]:
    for schedule in schedules(subject):
        start, end = schedule.config.get("beta_start"), schedule.config.get("beta_end")
        if start and end and (start.value, end.value) == LEGACY:
            message = "these betas come from diffusers' old loader of single files; no model was trained with them"
            changes = (Rewrite(start.place, 0.00085), Rewrite(end.place, 0.012))
            yield _finding(start.place, message, "write 0.00085 and 0.012", changes)
    for run in subject.runs:
        argument = next((run.others[name] for name in ARGUMENTS if name in run.others), None)
        replaced = run.schedule is not None and run.schedule.complete
        if argument is not None and CONFIG not in run.others and _takes_old_path(run.pipeline) and not replaced:
            message = "this argument selects the betas of diffusers' old loader"
            yield _finding(argument.place, message, INSTEAD)


def _finding(place: Location, message: str, suggestion: str, changes: tuple[Rewrite, ...] = ()) -> Finding:
    fix = Fix("safe" if changes else "show", suggestion, changes)
    return Finding(RULE, place, message, "0.02 to 0.085", "0.00085 to 0.012", suggestion, fix=fix)


def _takes_old_path(pipeline: str) -> bool:
    return pipeline.startswith("StableDiffusion") and not pipeline.startswith(("StableDiffusionXL", "StableDiffusion3"))


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_single_file("dream.safetensors", prediction_type="epsilon")
        pipe("a lighthouse at dawn")
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_single_file("dream.safetensors")
        pipe("a lighthouse at dawn")
    """)
