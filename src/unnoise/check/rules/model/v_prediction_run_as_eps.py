"""A model that predicts v is sampled as if it predicted noise, or the reverse.

Why: read as noise, the v of a perfect model gives a first x0 of 15.6 x0 + 13.6 noise at the last of Stable Diffusion's
levels (signal 0.068): the image is blurred and over-bright. diffusers loads every file of SDXL's shape with the
scheduler of SDXL base, which states epsilon, whatever the file states.
Shown: the prediction type of the run and that of the model.
Instead: prediction_type="v_prediction" in the scheduler; in ComfyUI a ModelSamplingDiscrete node.
Fix: safe where the wrong value is written: write the model's.
Source: Salimans and Ho 2022, arXiv:2202.00512, section 4 (x0 = a x - s v); diffusers, loaders/single_file.py; ComfyUI,
comfy/supported_models.py, SDXL.model_type; huggingface/diffusers#9171.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.model._shared import SAMPLING, assumed_prediction, folder_schedule, predicts
from unnoise.check.subject import GenerationRun, Location, Subject
from unnoise.check.tables import effective

RULE = Rule(id="UN201", name="v-prediction-run-as-eps", severity=ERROR)
V, EPS = "v_prediction", "epsilon"
PUBLISHED = {  # these predict noise
    "stable-diffusion-xl-base-1.0", "sd_xl_base_1.0", "stable-diffusion-v1-5", "stable-diffusion-v1-4",
    "v1-5-pruned-emaonly", "v1-5-pruned",
}  # fmt: skip
KIND = {V: "v", EPS: "noise"}


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        found = assumed_prediction(run, subject)
        if run.model is None or found is None or found[0] not in KIND or not _sure(run, found):
            continue
        right = predicts(run.model)
        if right and right != found[0]:
            yield _finding(found[1], right, _is_stated(run, found[1]), run.tool == "comfyui")
    schedule = folder_schedule(subject)
    predictions = {one.identity.prediction for one in subject.weights if one.role in ("denoiser", "checkpoint")}
    if schedule is not None and predictions == {"v"} and effective(schedule, "prediction_type") == EPS:
        setting = schedule.get("prediction_type")
        yield _finding(setting.place if setting else schedule.place, V, setting is not None)


def _is_stated(run: GenerationRun, place: Location) -> bool:
    """Return whether a place is that of a setting for the prediction type."""
    schedule = run.schedule.get("prediction_type") if run.schedule else None
    return any(argument is not None and argument.place == place for argument in (run.others.get(SAMPLING), schedule))


def _sure(run: GenerationRun, found: tuple[str, Location]) -> bool:
    """Return whether the model's prediction type is certain, by its variant or its file."""
    if run.model is None:
        return False
    identity, inherits = run.model.identity, found[1] == run.model.place
    if identity.family == "sd2":
        return bool(identity.prediction or identity.variant) and not (inherits and not identity.prediction)
    if found[0] == EPS:
        return identity.family in ("sd1", "sdxl")
    name = run.model.name.rsplit("/", 1)[-1].removesuffix(".safetensors").removesuffix(".ckpt")
    return identity.prediction == "eps" or (name in PUBLISHED and not run.adapters)


def _finding(place: Location, right: str, is_stated: bool, is_comfyui: bool = False) -> Finding:
    wrong = EPS if right == V else V
    message = f"the model predicts {KIND[right]} and is sampled as if it predicted {KIND[wrong]}"
    word = "eps" if is_comfyui and right == EPS else right
    suggestion = f"add ModelSamplingDiscrete with {word}" if is_comfyui else f'write prediction_type="{right}"'
    fix = Fix.safe(place, word) if is_stated else Fix.show(f'write prediction_type="{right}"')
    return Finding(RULE, place, message, wrong, right, suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_single_file("noobaiXL_vPred10.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(
            pipe.scheduler.config, prediction_type="epsilon", timestep_spacing="trailing"
        )
        pipe("a lighthouse at dawn", guidance_scale=5.0, guidance_rescale=0.7)
    """)


def good() -> Subject:
    return script("""
        from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_single_file("noobaiXL_vPred10.safetensors")
        pipe.scheduler = EulerDiscreteScheduler.from_config(
            pipe.scheduler.config, prediction_type="v_prediction", timestep_spacing="trailing"
        )
        pipe("a lighthouse at dawn", guidance_scale=5.0, guidance_rescale=0.7)
    """)
