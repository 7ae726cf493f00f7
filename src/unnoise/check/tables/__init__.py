"""Arguments and defaults of diffusers' classes, as data, so that diffusers is not imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unnoise.check.subject import Config, GenerationRun
from unnoise.check.tables.calls import STEP
from unnoise.check.tables.classes import CLASSES
from unnoise.check.tables.pipelines import PIPELINES
from unnoise.check.tables.tasks import TASKS
from unnoise.families.identity import Identity


@dataclass(frozen=True, slots=True)
class Shipped:
    """Hold the scheduler that a family is published with; a setting of None differs between its models."""

    class_: str
    settings: Mapping[str, Any]


_SD: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "prediction_type": "epsilon",
}
_FLOW = "FlowMatchEulerDiscreteScheduler"
_SD3 = Shipped(_FLOW, {"shift": 3.0})
_DEV = Shipped(_FLOW, {"shift": 3.0, "use_dynamic_shifting": True})
_WAN = Shipped(
    "UniPCMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": None}
)
# Source: scheduler/scheduler_config.json of the repositories named behind each.
SHIPPED: Mapping[tuple[str, str], Shipped] = {
    ("sd1", ""): Shipped("PNDMScheduler", _SD),  # stable-diffusion-v1-5/stable-diffusion-v1-5
    ("sd2", "base"): Shipped("PNDMScheduler", _SD),  # stabilityai/stable-diffusion-2-base
    # stabilityai/stable-diffusion-2-1
    ("sd2", "768-v"): Shipped("DDIMScheduler", {**_SD, "prediction_type": "v_prediction"}),
    # stabilityai/sd-turbo
    ("sd2", "turbo"): Shipped("EulerDiscreteScheduler", {**_SD, "timestep_spacing": "trailing"}),
    # stabilityai/stable-diffusion-xl-base-1.0
    ("sdxl", ""): Shipped("EulerDiscreteScheduler", {**_SD, "timestep_spacing": "leading", "use_karras_sigmas": False}),
    # stabilityai/sdxl-turbo
    ("sdxl", "turbo"): Shipped("EulerAncestralDiscreteScheduler", {**_SD, "timestep_spacing": "trailing"}),
    ("sd3", "medium"): _SD3,  # stabilityai/stable-diffusion-3-medium-diffusers
    ("sd3", "3.5-medium"): _SD3,  # stabilityai/stable-diffusion-3.5-medium
    ("sd3", "3.5-large"): _SD3,  # stabilityai/stable-diffusion-3.5-large
    ("sd3", "3.5-large-turbo"): _SD3,  # stabilityai/stable-diffusion-3.5-large-turbo
    ("flux1", "dev"): _DEV,  # black-forest-labs/FLUX.1-dev
    ("flux1", "fill"): _DEV,  # black-forest-labs/FLUX.1-Fill-dev
    ("flux1", "kontext"): _DEV,  # black-forest-labs/FLUX.1-Kontext-dev
    ("flux1", "schnell"): Shipped(
        _FLOW, {"shift": 1.0, "use_dynamic_shifting": False}
    ),  # black-forest-labs/FLUX.1-schnell
    ("wan", "1.3b"): _WAN,  # Wan-AI/Wan2.1-T2V-1.3B-Diffusers
    ("wan", "14b"): _WAN,  # Wan-AI/Wan2.1-T2V-14B-Diffusers
}
SHARED = ("StableDiffusion", "AnimateDiff", "LatentConsistency", "Onnx", "StableUnCLIP", "LEdits", "Kandinsky", "PIA")
# The text-to-image class of a family in the classes that load any model.
GENERIC: Mapping[str, str] = {
    "sd1": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux1": "FluxPipeline",
    "wan": "WanPipeline",
}


def defaults(class_: str) -> Mapping[str, Any] | None:
    """Return the arguments of a scheduler class with their defaults; None where the class is not known."""
    return CLASSES.get(class_)


def accepts(class_: str, key: str) -> bool:
    """Return whether the constructor of a scheduler class takes `key`; True for an unknown class."""
    return class_ not in CLASSES or key in CLASSES[class_]


def step_accepts(class_: str, key: str) -> bool:
    """Return whether `step` of a scheduler class takes `key`; True for an unknown class."""
    return class_ not in STEP or key in STEP[class_]


def shipped(identity: Identity) -> Shipped | None:
    """Return the scheduler that a model is published with; None where that is not known."""
    if not identity.variant and identity.known_by.startswith("class"):
        return None
    return SHIPPED.get((identity.family, identity.variant))


def effective(config: Config, key: str, identity: Identity | None = None) -> Any:
    """Return the value of a setting that takes effect.

    Args:
        config: of a scheduler; where it is not complete, the rest comes from what the model is published with
        key: of the setting
        identity: of the model

    Returns:
        the stated value, else the published value, else the default of the class; None where it is not known, and where
        the class does not take the key
    """
    if not accepts(config.class_, key):
        return None
    setting = config.get(key)
    if setting is not None:
        return setting.value
    known = CLASSES.get(config.class_, {}).get(key)
    if config.complete:
        return known
    base = shipped(identity) if identity is not None else None
    return None if base is None else base.settings.get(key, known)


def default(run: GenerationRun, key: str) -> Any:
    """Return the default of an argument that a script does not pass to a pipeline.

    Args:
        run: of diffusers
        key: of the argument

    Returns:
        None where the default is not known, and where the script passes or may pass the argument
    """
    if run.tool != "diffusers" or key in run.others or "**" in run.others:
        return None
    pipeline = run.pipeline
    if pipeline in ("DiffusionPipeline", "AutoPipelineForText2Image"):
        pipeline = generic(run.model.identity) if run.model is not None and run.task == "text" else ""
    return PIPELINES.get(pipeline, {}).get(key)


def takes(class_: str, key: str) -> bool:
    """Return whether a pipeline class of diffusers takes an argument that has a number by default."""
    return key in PIPELINES.get(class_, {})


def generic(identity: Identity) -> str:
    """Return the class that a model is loaded as by `DiffusionPipeline`; "" where that is not known."""
    own = identity.variant == "lcm" and identity.family == "sd1"  # of a larger model, LCM is its network alone
    return "LatentConsistencyModelPipeline" if own else GENERIC.get(identity.family, "")


def fits_any(class_: str) -> bool:
    """Return whether a pipeline class loads models of several families, or is not part of diffusers."""
    return class_ not in PIPELINES or class_.startswith(SHARED)


def task(class_: str) -> str:
    """Return the task of a pipeline: "text", "image", "inpaint", "edit"; "" where the class is not known."""
    for name in ("image", "inpaint", "edit"):
        if class_ in TASKS[name]:
            return name
    if class_ in PIPELINES or class_ == "AutoPipelineForText2Image":
        return "text"
    return {"AutoPipelineForImage2Image": "image", "AutoPipelineForInpainting": "inpaint"}.get(class_, "")


def embeds(class_: str) -> bool:
    """Return whether a pipeline passes `guidance_scale` to its network in place of classifier-free guidance."""
    return class_ in TASKS["embedded"]
