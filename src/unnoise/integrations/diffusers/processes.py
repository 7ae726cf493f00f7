"""The process of every scheduler class of diffusers: a closed table. A class outside of it is refused by name.

    role    process                 network's time                 classes
    table   a table of betas        0 to steps - 1                 DDIM, Euler, DPM-Solver, ...
    edm     EDM                     ln(sigma)/4                    EDMEuler, EDMDPMSolverMultistep
    flow    flow matching           0 to num_train_timesteps       FlowMatchEuler, ...
    angle   cosine, in its angle    0 to 1                         CosineDPMSolverMultistep

A class of `table` changes its role by its settings: `use_flow_sigmas` is flow, and Euler with `timestep_type`
"continuous" is EDM with unit data. Settings that only space the levels or choose a solver (`timestep_spacing`,
`use_karras_sigmas`, `solver_order`, ...) are no part of a process: `--schedule` and `--sampler` choose those.
Source: huggingface/diffusers 0.42.1, src/diffusers/schedulers.
"""

import warnings
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Literal

from unnoise.errors import InputError, InputWarning, nearest
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents

Role = Literal["table", "edm", "flow", "angle"]
KEY: Final = "_class_name"
CLASSES: Final[Mapping[str, Role]] = {
    **dict.fromkeys(
        (
            "DDIMInverseScheduler", "DDIMParallelScheduler", "DDIMScheduler", "DDPMParallelScheduler", "DDPMScheduler",
            "DEISMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverMultistepScheduler",
            "DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler",
            "EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
            "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "SASolverScheduler",
            "TCDScheduler", "UniPCMultistepScheduler",
        ),
        "table",
    ),
    "EDMDPMSolverMultistepScheduler": "edm",
    "EDMEulerScheduler": "edm",
    "FlowMatchEulerDiscreteScheduler": "flow",
    "FlowMatchHeunDiscreteScheduler": "flow",
    "LTXEulerAncestralRFScheduler": "flow",
    "CosineDPMSolverMultistepScheduler": "angle",
}  # fmt: skip
# What each other class of diffusers is for.
OTHERS: Final[Mapping[str, str]] = {
    "AmusedScheduler": "masked tokens",
    "BlockRefinementScheduler": "masked tokens",
    "CMStochasticIterativeScheduler": "consistency models of EDM",
    "CogVideoXDDIMScheduler": "betas with a shifted SNR",
    "CogVideoXDPMScheduler": "betas with a shifted SNR",
    "ConsistencyDecoderScheduler": "the decoder of DALL-E 3",
    "DDPMWuerstchenScheduler": "a cosine process in continuous time",
    "DiscreteDDIMScheduler": "masked tokens",
    "EntropyBoundScheduler": "masked tokens",
    "FlowMapEulerDiscreteScheduler": "flow maps between two times",
    "FlowMatchLCMScheduler": "flow matching distilled at several sizes",
    "HeliosDMDScheduler": "flow matching in stages of several sizes",
    "HeliosScheduler": "flow matching in stages of several sizes",
    "IPNDMScheduler": "a sine process in continuous time",
    "KarrasVeScheduler": "a variance exploding process",
    "MiniMaxH3Scheduler": "flow matching of one model",
    "PiflowScheduler": "flow matching with a policy",
    "RFD4ProteinaScheduler": "proteins",
    "RePaintScheduler": "inpainting by repeated noise",
    "SCMScheduler": "a trigonometric flow",
    "ScoreSdeVeScheduler": "a variance exploding process",
    "ScoreSdeVpScheduler": "a variance preserving process in continuous time",
    "UnCLIPScheduler": "the prior of unCLIP",
    "VQDiffusionScheduler": "masked tokens",
}
WORDS: Final[Mapping[str, str]] = {  # what a network predicts, in the words of diffusers
    "eps": "epsilon", "v": "v_prediction", "x0": "sample", "flow": "flow_prediction",
}  # fmt: skip
FLOW: Final = "FlowMatchEulerDiscreteScheduler"
BY_PROCESS: Final[Mapping[str, Role]] = {"ddpm": "table", "edm": "edm", "flow": "flow"}  # of facts to role
TRAINED_AS: Final[Mapping[str, tuple[Role, ...]]] = {  # family -> the roles that its network can have
    **dict.fromkeys(("sd1", "sd2", "sdxl"), ("table", "edm", "flow")),
    "pixart": ("table",),
    **dict.fromkeys(("sd3", "flux1", "sana", "wan", "ltx"), ("flow",)),
    "stable-audio": ("angle",),
}
# Settings that no published latent model has, and that would change what is drawn.
UNSUPPORTED: Final = ("thresholding", "invert_sigmas")
# Settings of true and false; any other value is refused.
FLAGS: Final = (*UNSUPPORTED, "rescale_betas_zero_snr", "use_flow_sigmas", "use_dynamic_shifting")


def role_of(foreign: ForeignComponents) -> Role:
    """Return the role of a model's scheduler, or of its family if it has none.

    Raises InputError for an unknown class, for one of another process than the family's network can have, and for
    settings that are not supported.
    """
    config, family, where = foreign.config("scheduler"), foreign.identity.family, foreign.where
    known = facts(foreign.identity)
    allowed = TRAINED_AS.get(family, ("table",))
    class_ = _class(foreign)
    if class_ is None:
        found = allowed[0] if known is None else BY_PROCESS[known.process]
        return found if found in allowed else allowed[0]
    _check_settings(where, config)
    found = _role(where, class_, config)
    if found not in allowed:
        raise InputError(
            f"{where}: its scheduler {class_} is of process {found!r}, and {family} is {' or '.join(allowed)}"
        )
    return found


def _class(foreign: ForeignComponents) -> Any:
    """Return the class of the scheduler. Raises InputError if config and index name classes of other processes."""
    stated, listed = foreign.config("scheduler").get(KEY), foreign.config("").get("scheduler")
    named = listed[1] if isinstance(listed, list) and len(listed) == 2 else None
    if stated is None or named is None or named == stated:
        return named if stated is None else stated
    roles = [CLASSES.get(one) if isinstance(one, str) else None for one in (stated, named)]
    if roles[0] is None or roles[0] != roles[1]:
        raise InputError(
            f"{foreign.where}: its index names the scheduler {str(named)[:80]}, and the config is of "
            f"{str(stated)[:80]}: they are of other processes"
        )
    return stated


def _role(where: str, class_: Any, config: Mapping[str, Any]) -> Role:
    if not isinstance(class_, str) or class_ not in CLASSES:
        short = str(class_)[:80]
        if short in OTHERS:
            raise InputError(f"{where}: its scheduler {short} is for {OTHERS[short]}, which is not supported")
        raise InputError(
            f"{where}: its scheduler {short!r} is unknown, and so is its process; {nearest(short, CLASSES)}"
        )
    flows, stated = bool(config.get("use_flow_sigmas")), config.get("prediction_type")
    if flows != (stated == "flow_prediction") and CLASSES[class_] == "table":
        raise InputError(
            f"{where}: its scheduler {class_} has use_flow_sigmas {str(flows).lower()} and prediction_type {stated!r}: "
            f"flow matching has true and 'flow_prediction', another process has neither"
        )
    if flows and CLASSES[class_] == "table":
        return "flow"
    continuous = config.get("timestep_type", "discrete") == "continuous" and stated == "v_prediction"
    return "edm" if continuous and class_ == "EulerDiscreteScheduler" else CLASSES[class_]


def _check_settings(where: str, config: Mapping[str, Any]) -> None:
    for name in FLAGS:
        if not isinstance(config.get(name) or False, bool):
            raise InputError(f"{where}: scheduler {name} {str(config[name])[:80]!r}: true or false")
    for name in UNSUPPORTED:
        if config.get(name):
            raise InputError(f"{where}: scheduler {name} true: not supported; it changes what is drawn")
    kind = config.get("timestep_type") or "discrete"
    if kind not in ("discrete", "continuous"):
        raise InputError(f"{where}: scheduler timestep_type {str(kind)[:80]!r}: discrete or continuous")


def number(foreign: ForeignComponents, name: str, default: float, low: float, high: float) -> float:
    """Return a number of a model's scheduler, or the default. Raises InputError outside of low to high."""
    value = foreign.config("scheduler").get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not (low <= value <= high and isfinite(value)):
        raise InputError(f"{foreign.where}: scheduler {name} {str(value)[:80]}: a number from {low:g} to {high:g}")
    return float(value)


def chosen(where: str, config: Mapping[str, Any], prediction: str) -> dict[str, Any]:
    """Return a scheduler's config with the prediction type that a person chose. Warns where the files state another.

    `flow` makes the process flow matching; a scheduler of flow matching has no other prediction type.
    """
    flows = CLASSES.get(str(config.get(KEY)), "table") == "flow" or bool(config.get("use_flow_sigmas"))
    stated = "flow_prediction" if flows else config.get("prediction_type")
    if stated and stated != WORDS[prediction]:
        if flows:
            raise InputError(
                f"prediction_type {prediction}: {where} is of flow matching by its scheduler; leave it out"
            )
        warnings.warn(
            f"prediction_type {prediction}: {where} states {str(stated)[:80]}; {prediction} is used",
            InputWarning,
            stacklevel=2,
        )
    if prediction == "flow":
        return dict(config) if flows else {KEY: FLOW}
    return {**config, "prediction_type": WORDS[prediction]}
