"""How the network of a single file was trained: marker tensors, the `.yaml` beside the file, and its metadata.

    source                                                      states
    edm_mean, edm_std                                           EDM with sigma_data 0.5 (Playground 2.5)
    edm_vpred.sigma_max, edm_vpred.sigma_min                    EDM with v and unit data (CosXL)
    v_pred, ztsnr                                               v, zero terminal SNR
    NAME.yaml beside NAME.safetensors                           as `families.ldm_config` reads it
    modelspec.prediction_type, ss_zero_terminal_snr             the same in the header
    modelspec.resolution                                        the default size

Two sources that contradict each other are refused, unless a person decides.
Source: ComfyUI, comfy/supported_models.py, SDXL.model_type; ModelSpec 1.0.1; kohya-ss/sd-scripts, train_util.py.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from unnoise.errors import InputError, InputWarning, nearest
from unnoise.families.bases import named
from unnoise.families.identity import Identity
from unnoise.families.ldm_config import training_of
from unnoise.formats.header import Header
from unnoise.formats.read_values import read_values
from unnoise.formats.yaml_subset import read_yaml
from unnoise.integrations.diffusers.components import RESOLUTION
from unnoise.integrations.diffusers.processes import KEY
from unnoise.integrations.diffusers.single.ldm import CELL, MARKERS

SPECS: Final = {
    "epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction",
    "v-prediction": "v_prediction", "flow": "flow_prediction", "flow_prediction": "flow_prediction",
}  # fmt: skip
TABLED: Final = ("sd1", "sd2", "sdxl", "pixart")  # families of which a file may state another training
# Playground 2.5: its scheduler_config.json.   CosXL: ComfyUI, comfy/model_sampling.py, ModelSamplingContinuousEDM.
PLAYGROUND: Final[Mapping[str, Any]] = {
    KEY: "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon", "sigma_data": 0.5, "sigma_min": 0.002,
    "sigma_max": 80.0,
}  # fmt: skip
COSXL: Final[Mapping[str, Any]] = {
    KEY: "EDMEulerScheduler", "prediction_type": "v_prediction", "sigma_data": 1.0, "sigma_min": 0.002,
    "sigma_max": 120.0, "sigma_schedule": "exponential",
}  # fmt: skip
SIDES: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
LEAST, MOST = 64, 4096  # pixels of a side
CHANNELS: Final = 64  # the most numbers of a marker that are read
EDM_V: Final = "edm_vpred."
FLOW: Final[Mapping[str, Any]] = {KEY: "FlowMatchEulerDiscreteScheduler", "prediction_type": "flow_prediction"}
UNSKIPPED: Final = {"", "1", "-1", "None", "none", "null"}  # modelspec.encoder_layer of the last layer


def read_markers(path: Path, header: Header) -> dict[str, Tensor]:
    """Read the numbers of the tensors that state the training of a network, whatever the dtype of the others."""
    names = (*MARKERS, EDM_V + "sigma_min", EDM_V + "sigma_max")
    values = read_values(path, header.tensors, names, CHANNELS)
    if unread := [name for name in names if name in header.tensors and name not in values]:
        raise InputError(f"{path}: tensor {unread[0]} is {header.tensors[unread[0]].dtype}: a float is expected")
    return {name: torch.tensor(value) for name, value in values.items()}


def stated_training(
    path: Path, identity: Identity, header: Header, markers: Mapping[str, Tensor], decided: bool
) -> dict[str, Any]:
    """Return the settings of diffusers' scheduler that a file and its `.yaml` state; empty if they state none.

    Args:
        path: the file.
        identity: its family.
        header: its tensors and metadata.
        markers: as `read_markers` read them.
        decided: whether a person chose the prediction type, so that sources may differ in it.

    Raises:
        InputError: two sources contradict each other, or one states what is unknown.
    """
    _check_metadata(path, identity, header.metadata)
    if identity.family not in TABLED:
        return {}
    beside = path.with_suffix(".yaml")
    sources = {
        "its tensors": _of_tensors(path, identity, header, markers),
        beside.name: _of_yaml(beside),
        "its metadata": _of_metadata(path, header.metadata),
    }
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, stated in sources.items():
        for name, value in stated.items():
            if found.get(name, value) != value and not (decided and name == "prediction_type"):
                advice = "; --prediction-type (prediction_type=...) decides" if name == "prediction_type" else ""
                raise InputError(
                    f"{path}: {origin[name]} states {name} {found[name]}, and {source} states {value}: they contradict "
                    f"each other{advice}"
                )
            found.setdefault(name, value)
            origin.setdefault(name, source)
    return found


def _of_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return training_of(read_yaml(path), str(path))
    except InputError as error:
        raise InputError(f"{error}; if this file is not the config of the model, rename it") from None


def stated_resolution(path: Path, metadata: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the (width, height) that modelspec.resolution states, {} if none. Warns of one that cannot be used."""
    stated = metadata.get("modelspec.resolution", "").lower().strip()
    match = SIDES.fullmatch(stated)
    sides = [int(side) for side in match.groups()] if match else []
    if sides and all(LEAST <= side <= MOST and side % CELL == 0 for side in sides):
        return {RESOLUTION: sides}
    if stated:
        warnings.warn(
            f"{path}: modelspec.resolution {stated[:80]!r}: not used; WIDTHxHEIGHT, multiples of {CELL} from {LEAST} "
            f"to {MOST}, is expected",
            InputWarning,
            stacklevel=2,
        )
    return {}


def _of_tensors(path: Path, identity: Identity, header: Header, markers: Mapping[str, Tensor]) -> dict[str, Any]:
    if identity.variant == "playground-2.5":
        return dict(PLAYGROUND)
    if identity.variant == "cosxl":
        ends = ("sigma_min", "sigma_max")
        own = {name: _scalar(path, markers, EDM_V + name) for name in ends if EDM_V + name in markers}
        return {**COSXL, **own}
    found: dict[str, Any] = {"prediction_type": "v_prediction"} if "v_pred" in header.tensors else {}
    return found | ({"rescale_betas_zero_snr": True} if "ztsnr" in header.tensors else {})


def _scalar(path: Path, tensors: Mapping[str, Tensor], name: str) -> float:
    if tensors[name].numel() != 1:
        raise InputError(f"{path}: tensor {name} of {list(tensors[name].shape)}: one number is expected")
    return float(tensors[name])


def _of_metadata(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated:
        if stated not in SPECS:
            raise InputError(f"{path}: modelspec.prediction_type {stated[:80]!r}: {nearest(stated[:80], SPECS)}")
        found = dict(FLOW) if SPECS[stated] == "flow_prediction" else {"prediction_type": SPECS[stated]}
    if metadata.get("ss_zero_terminal_snr", "").lower() == "true":
        found["rescale_betas_zero_snr"] = True
    return found


def _check_metadata(path: Path, identity: Identity, metadata: Mapping[str, str]) -> None:
    """Warn of metadata that names another family than the tensors show, and of layers that are not used here."""
    architecture = metadata.get("modelspec.architecture", "")
    stated = named(architecture).family
    if named(architecture).known and stated != identity.family:
        warnings.warn(
            f"{path}: modelspec.architecture {architecture[:80]!r} is {stated}, and its tensors are {identity.family}, "
            f"which it is loaded as",
            InputWarning,
            stacklevel=2,
        )
    layer = metadata.get("modelspec.encoder_layer", "").strip()
    if identity.family == "sd1" and layer not in UNSKIPPED:
        warnings.warn(
            f"{path}: modelspec.encoder_layer {layer[:80]!r}: trained on an earlier layer of its text encoder; "
            f"the last one is used",
            InputWarning,
            stacklevel=2,
        )
