"""A folder was converted from a v-prediction model, but its scheduler states noise prediction.

Why: conversion writes the scheduler of the family's base, not that of the file; SDXL's states epsilon. With a model
that predicts v the first x0 is then wrong by 13.6 times the noise (signal 0.068 at the last level), for everyone who
loads the folder.
Shown: the prediction of the folder and the model it was made from.
Instead: set the scheduler's prediction_type before saving, or write it into scheduler_config.json.
Fix: safe where the wrong value is written: write "v_prediction".
Source: invoke-ai/InvokeAI#7965, #7495; diffusers, loaders/single_file.py, from_single_file.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import folder
from unnoise.check.rule import ERROR, Finding, Fix, Rule
from unnoise.check.rules.model._shared import folder_networks, folder_schedule, is_file, predicts
from unnoise.check.subject import Location, NamedModel, Subject
from unnoise.check.tables import effective
from unnoise.families.names import by_name

RULE = Rule(id="UN203", name="prediction-lost-in-conversion", severity=ERROR)
ORIGIN = "_name_or_path"
V = "v_prediction"


def check(subject: Subject) -> Iterator[Finding]:
    schedule = folder_schedule(subject)
    origin = _origin(subject)
    if schedule is not None and origin and effective(schedule, "prediction_type") == "epsilon":
        setting = schedule.get("prediction_type")
        place = setting.place if setting else schedule.place
        yield _finding(place, f"it was converted from {origin[:80]}, which predicts v", setting is not None)
    for model in _saved(subject):
        yield _finding(model.place, f"saved with the scheduler of its family's base, but {model.name[:80]} predicts v")


def _finding(place: Location, message: str, is_stated: bool = False) -> Finding:
    fix = Fix.safe(place, V) if is_stated else Fix.show(f'write prediction_type="{V}"')
    return Finding(RULE, place, message, "epsilon", V, f'write prediction_type="{V}" in the scheduler', fix=fix)


def _origin(subject: Subject) -> str:
    """Return the name of the model that a folder was converted from, if that model predicts v."""
    for config in folder_networks(subject):
        setting = config.get(ORIGIN)
        name = setting.value if setting is not None and isinstance(setting.value, str) else ""
        if name and predicts(NamedModel(name, config.place, by_name(name))) == V:
            return name
    return ""


def _saved(subject: Subject) -> list[NamedModel]:
    """List single files that a script loads and saves as a folder without setting the prediction type."""
    if subject.script is None or subject.runs or any(V in line for line in subject.script.lines):
        return []
    calls = (node.func for node in ast.walk(subject.script.tree) if isinstance(node, ast.Call))
    if not any(isinstance(call, ast.Attribute) and call.attr == "save_pretrained" for call in calls):
        return []
    if len({model.name for model in subject.models}) != 1 or "scheduler=" in "".join(subject.script.lines):
        return []
    model = subject.models[0]
    is_ours = is_file(model) and model.facts is not None and model.facts.process == "ddpm" and predicts(model) == V
    return [model] if is_ours and model.identity.family in ("sd1", "sdxl") else []


UNET = {
    "_class_name": "UNet2DConditionModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time",
    "_name_or_path": "noobai-XL-Vpred-1.0", "in_channels": 4, "sample_size": 128,
}  # fmt: skip
SCHEDULE = {
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing", "steps_offset": 1,
}  # fmt: skip


def _converted(prediction: str) -> Subject:
    index = {"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "EulerDiscreteScheduler"]}
    schedule = SCHEDULE | {"prediction_type": prediction}
    return folder({"model_index.json": index, "unet/config.json": UNET, "scheduler/scheduler_config.json": schedule})


def bad() -> Subject:
    return _converted("epsilon")


def good() -> Subject:
    return _converted("v_prediction")
