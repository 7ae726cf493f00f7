"""A setting that no scheduler of diffusers has; it is dropped without an error.

Why: `from_config(config, use_karas_sigmas=True)` accepts any keyword. Unknown ones are dropped; a warning comes only
for unknown keys of the configuration itself. 0 pixels differ from the images without the setting.
Shown: the keyword and the nearest one that exists.
Instead: write the intended keyword.
Fix: show: the nearest name.
Source: diffusers, configuration_utils.py, extract_init_dict and from_config.
"""

from collections.abc import Iterator
from difflib import get_close_matches

from unnoise.check.effective_settings import EffectiveSchedule
from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.subject import Subject
from unnoise.check.tables import accepts, classes, defaults

RULE = Rule(id="UN109", name="unknown-setting", severity=ERROR, checks="schedule", with_subject=True)
ELSEWHERE = {key for known in classes.CLASSES.values() for key in known} | {"subfolder", "revision", "cache_dir"}
ELSEWHERE |= {"return_unused_kwargs", "local_files_only", "token", "force_download", "proxies", "dtype", "torch_dtype"}


def check(schedule: EffectiveSchedule, subject: Subject) -> Iterator[Finding]:
    known = defaults(schedule.config.class_)
    if known is None or subject.tool != "diffusers":
        return
    for key, setting in schedule.config.settings.items():
        if accepts(schedule.config.class_, key) or key in ELSEWHERE or key.startswith(("_", "**")):
            continue
        near = get_close_matches(key, sorted(ELSEWHERE), n=1, cutoff=0.8 if schedule.run else 0.9)
        if schedule.run is None and not near:
            continue  # a saved file may contain settings of a custom class
        message = f"no scheduler of diffusers has the setting {key!r}; it is dropped"
        nearest = near[0] if near else "a setting of this class"
        suggestion = f"write {near[0]}" if near else f"remove it; {schedule.config.class_} has: {', '.join(known)}"
        yield Finding(RULE, setting.place, message, key[:80], nearest, suggestion[:200], fix=Fix.show(suggestion[:200]))


def bad() -> Subject:
    return script("""
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karas_sigmas=True)
        pipe("a lighthouse at dawn", num_inference_steps=25)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
        pipe("a lighthouse at dawn", num_inference_steps=25)
    """)
