"""Helpers of the rules of models: the prediction that a run assumes, and the one that a model states."""

from collections.abc import Iterator

from unnoise.check.subject import Config, GenerationRun, Location, NamedModel, Subject
from unnoise.check.tables import effective

FILES = (".safetensors", ".ckpt", ".sft", ".gguf", ".pt", ".bin")
COMFYUI = {"eps": "epsilon", "v_prediction": "v_prediction"}  # ModelSamplingDiscrete.sampling
# The prediction that diffusers' from_single_file assumes, whatever the file states.   Source: diffusers 0.42.1,
# loaders/single_file_utils.py, DIFFUSERS_DEFAULT_PIPELINE_PATHS
OF_FILES = {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}
SAMPLING = "ModelSamplingDiscrete.sampling"


def is_file(model: NamedModel) -> bool:
    """Return whether a model is loaded from a single file."""
    return model.name.lower().endswith(FILES)


def assumed_prediction(run: GenerationRun, subject: Subject) -> tuple[str, Location] | None:
    """Return the prediction that a run assumes, "epsilon" or "v_prediction", and its place; None if unknown."""
    if run.model is None:
        return None
    if run.tool == "comfyui":
        return _of_comfyui(run, run.model)
    if run.tool != "diffusers" or (run.schedule is not None and not run.schedule.class_):
        return None
    setting = run.schedule.get("prediction_type") if run.schedule else None
    if setting is not None:
        return (setting.value, setting.place) if isinstance(setting.value, str) else None
    if run.schedule is not None and run.schedule.complete:
        found = effective(run.schedule, "prediction_type")
        return (found, run.schedule.place) if isinstance(found, str) else None
    if any("v_prediction" in text for text in subject.texts.values()):
        return None  # it may be set in an unknown way
    if run.schedule is not None and not _takes_own(run.schedule.place, subject):
        return None
    found = inherited(run.model)
    return (found, run.schedule.place if run.schedule else run.model.place) if found else None


def _takes_own(place: Location, subject: Subject) -> bool:
    """Return whether a scheduler is built from the pipeline's own, without unreadable settings."""
    lines = subject.texts.get(place.path, "").split("\n")[(place.line or 1) - 1 : place.end_line]
    return any(".scheduler.config" in line for line in lines) and not any("**" in line for line in lines)


def _of_comfyui(run: GenerationRun, model: NamedModel) -> tuple[str, Location] | None:
    argument = run.others.get(SAMPLING)
    if argument is not None:
        found = COMFYUI.get(argument.value) if isinstance(argument.value, str) else None
        return (found, argument.place) if found else None
    if model.weights is None or model.identity.family not in ("sd1", "sdxl"):
        return None
    marked = model.identity.family == "sdxl" and any("v_pred" in name for name in model.weights.header.tensors)
    return ("v_prediction" if marked else "epsilon", model.place)


def inherited(model: NamedModel) -> str:
    """Return the prediction of the scheduler that diffusers loads with a model; "" where it is not known."""
    own = model.configs.get("scheduler")
    if own is not None:
        found = effective(own, "prediction_type")
        return found if isinstance(found, str) else ""
    return OF_FILES.get(model.identity.family, "") if is_file(model) else ""


def predicts(model: NamedModel) -> str:
    """Return the prediction that a model states, "epsilon" or "v_prediction"; "" where it states none."""
    known = model.facts
    return {"eps": "epsilon", "v": "v_prediction"}.get(known.prediction, "") if known else ""


def folder_schedule(subject: Subject) -> Config | None:
    """Return the scheduler of a folder."""
    return next((config for config in subject.configs if config.role == "scheduler"), None)


def folder_networks(subject: Subject) -> Iterator[Config]:
    """List the networks of a folder that denoise."""
    yield from (config for config in subject.configs if config.role in ("unet", "transformer"))
