"""The scheduler of a folder states another prediction type than the model that the folder was converted from.

Why: conversion writes the scheduler of the family's base, not that of the file; SDXL's states epsilon. With a model
that predicts v the first x0 is then wrong by 13.6 times the noise (signal 0.068 at the last level), for everyone who
loads the folder. Every Stable Diffusion 2 file becomes a folder that states v, which is right for the network of 768
pixels (sample_size 96) and wrong for that of 512 (64).
Shown: the prediction type of the folder and that of its original.
Instead: set the scheduler's prediction_type before saving, or write it into scheduler_config.json.
Fix: safe where the wrong value is written: write that of the original; by the size alone it is only shown.
Source: invoke-ai/InvokeAI#7965, #7495; diffusers, loaders/single_file.py, from_single_file;
Stability-AI/stablediffusion, README.md (512-base and 768-v).
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import folder
from unnoise.check.index import index_of
from unnoise.check.rule import ERROR, WARN, Finding, Fix, Rule
from unnoise.check.rules.model._shared import folder_networks, folder_schedule, is_file, predicts
from unnoise.check.subject import Config, Location, NamedModel, Subject
from unnoise.check.syntax import nodes
from unnoise.check.tables import effective
from unnoise.families.names import by_name

RULE = Rule(id="UN203", name="prediction-lost-in-conversion", severity=ERROR)
ORIGIN = "_name_or_path"
V, EPS = "v_prediction", "epsilon"
KIND = {V: "v", EPS: "noise"}
OF_SIZES = {96: V, 64: EPS}  # sample_size of Stable Diffusion 2: the prediction of its two networks


def check(subject: Subject) -> Iterator[Finding]:
    schedule = folder_schedule(subject)
    stated = effective(schedule, "prediction_type") if schedule is not None else None
    if schedule is not None and isinstance(stated, str) and stated in KIND:
        origin, right = _origin(subject)
        if not right:
            origin, right = _file(subject)
        if right and right != stated:
            yield _of_folder(schedule, right, f"it was converted from {origin[:80]}, which predicts {KIND[right]}")
        elif not right:
            yield from _by_size(subject, schedule, stated)
    for model in _saved(subject):
        yield _finding(
            model.place, f"saved with the scheduler of its family's base, but {model.name[:80]} predicts v", V
        )


def _of_folder(schedule: Config, right: str, message: str) -> Finding:
    setting = schedule.get("prediction_type")
    return _finding(setting.place if setting else schedule.place, message, right, setting is not None)


def _finding(place: Location, message: str, right: str, is_stated: bool = False) -> Finding:
    suggestion = f'write prediction_type="{right}"'
    fix = Fix.safe(place, right) if is_stated else Fix.show(suggestion)
    return Finding(RULE, place, message, EPS if right == V else V, right, f"{suggestion} in the scheduler", fix=fix)


def _origin(subject: Subject) -> tuple[str, str]:
    """Return the name of the model that a folder names as its origin, and its prediction; "" where it is not known."""
    stated = [setting.value for config in folder_networks(subject) if (setting := config.get(ORIGIN)) is not None]
    stated.append(index_of(subject)[1].get(ORIGIN))
    for name in stated:
        if isinstance(name, str) and name:
            model = NamedModel(name, Location(subject.path), by_name(name))
            right = predicts(model)
            if right == V or (right and model.identity.prediction):
                return name, right
    return "", ""


def _file(subject: Subject) -> tuple[str, str]:
    """Return the name of the file that was named together with a folder, and the prediction that it states."""
    for run in subject.runs:
        if run.task == "convert" and run.model is not None:
            right = predicts(run.model)
            if right == V or (right and run.model.identity.prediction):
                return run.model.name, right
    return "", ""


def _by_size(subject: Subject, schedule: Config, stated: str) -> Iterator[Finding]:
    """Compare the prediction of a Stable Diffusion 2 folder with that of the network of its size."""
    is_plain = any(one.identity.family == "sd2" and not one.identity.zero_snr for one in subject.models)
    for config in folder_networks(subject) if is_plain else ():
        size, channels = config.get("sample_size"), config.get("in_channels")
        cells = size.value if size is not None and type(size.value) is int else 0
        right, setting = OF_SIZES.get(cells), schedule.get("prediction_type")
        if right and right != stated and setting is not None and channels is not None and channels.value == 4:
            message = f"its network is that of {cells * 8} pixels, which predicts {KIND[right]}"
            suggestion = f'write prediction_type="{right}" in the scheduler, unless it was trained otherwise'
            yield Finding(RULE, setting.place, message, stated, right, suggestion, WARN, Fix.show(suggestion))


def _saved(subject: Subject) -> list[NamedModel]:
    """List single files that a script loads and saves as a folder without setting the prediction type."""
    if subject.script is None or subject.runs or any(V in line for line in subject.script.lines):
        return []
    calls = (node.func for node in nodes(subject.script.tree) if isinstance(node, ast.Call))
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
