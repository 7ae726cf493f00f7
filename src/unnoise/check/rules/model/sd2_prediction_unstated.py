"""A Stable Diffusion 2 file does not state whether it predicts noise or v.

Why: the network for 512 pixels predicts noise, the one for 768 predicts v, and both have the same tensors. diffusers
loads every such file with the scheduler of Stable Diffusion 2.1, which states v; that is right for only one of the two
sizes. With the wrong prediction type the image is washed out or noise.
Shown: the assumed prediction type and the known one.
Instead: state prediction_type in the scheduler, or modelspec.prediction_type in the file.
Fix: none; the file does not contain it.
Source: diffusers, loaders/single_file_utils.py, DIFFUSERS_DEFAULT_PIPELINE_PATHS and _legacy_load_scheduler (its
comment calls the guess brittle); Stability-AI/stablediffusion, README.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, NOTE, WARN, Finding, Rule
from unnoise.check.rules.model._shared import folder_networks, folder_schedule, inherited, is_file, predicts
from unnoise.check.subject import Config, GenerationRun, Subject

RULE = Rule(id="UN202", name="sd2-prediction-unstated", severity=WARN)
WIDE = 96  # sample_size of the networks for 768 pixels
INSTEAD = 'write prediction_type="epsilon" for a model of 512 pixels, "v_prediction" for one of 768'


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        yield from _run(run, subject)
    for one in subject.weights:
        identity = one.identity
        is_base = one.role in ("checkpoint", "denoiser") and identity.family == "sd2"
        if is_base and not subject.tool and not identity.variant and not identity.prediction:
            message = "neither the tensors nor the metadata of this Stable Diffusion 2 file state the prediction type"
            suggestion = "add modelspec.prediction_type, or set it wherever the file is used"
            yield Finding(RULE, one.place, message, "not stated", "epsilon or v", suggestion, NOTE)
    schedule = folder_schedule(subject)
    if schedule is not None and _is_wide(subject) and schedule.get("prediction_type") is None and _takes(schedule):
        message = "this Stable Diffusion 2 of 768 pixels predicts v, and its scheduler does not set that"
        yield Finding(RULE, schedule.place, message, "epsilon by default", "v_prediction", INSTEAD)


def _run(run: GenerationRun, subject: Subject) -> Iterator[Finding]:
    model = run.model
    if run.tool != "diffusers" or model is None or model.identity.family != "sd2" or not is_file(model):
        return
    stated = run.schedule is not None and (run.schedule.complete or run.schedule.get("prediction_type") is not None)
    configured = "prediction_type" in "".join(subject.texts.values()) or "from_single_file.config" in run.others
    if stated or configured or (run.schedule is not None and not run.schedule.class_):
        return
    if model.identity.variant or model.identity.prediction:
        right = predicts(model)
        if right and right != inherited(model):
            message = f"diffusers loads this file as Stable Diffusion 2.1, but it is {model.identity}"
            measured = inherited(model)
            yield Finding(RULE, model.place, message, measured, right, f'write prediction_type="{right}"', ERROR)
    else:
        message = "diffusers loads every file of this shape as Stable Diffusion 2.1 for 768 pixels"
        yield Finding(RULE, model.place, message, f"{inherited(model)}, assumed", "stated", INSTEAD, NOTE)


def _takes(schedule: Config) -> bool:
    return schedule.complete and bool(schedule.class_)


def _is_wide(subject: Subject) -> bool:
    sizes = (config.get("sample_size") for config in folder_networks(subject))
    is_sd2 = any(model.identity.family == "sd2" and not model.identity.zero_snr for model in subject.models)
    return is_sd2 and any(setting is not None and setting.value == WIDE for setting in sizes)


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_single_file("512-base-ema.safetensors")
        pipe("a lighthouse at dawn", width=512, height=512)
    """)


def good() -> Subject:
    return script("""
        from diffusers import DDIMScheduler, StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_single_file("512-base-ema.safetensors")
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, prediction_type="epsilon")
        pipe("a lighthouse at dawn", width=512, height=512)
    """)
