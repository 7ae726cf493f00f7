"""ControlNets of Stable Diffusion 1, 2 and XL, from a folder or a single file.

Source: Zhang et al. 2023 (ControlNet), section 3; diffusers, models/controlnets/controlnet.py.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.components import Components
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError, quoted
from unnoise.formats.diffusers_folder import CONFIG, weight_files
from unnoise.formats.json_text import read_json
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.config import checked_config
from unnoise.integrations.diffusers.table import class_of
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.integrations.diffusers.weights import fill

CLASS = "ControlNetModel"
TEXT = ("attn2.to_k.weight",)  # a layer whose input is the text
WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
MAKERS = "control_model."  # the prefix of the original layout


def with_control(components: Components, path: Path) -> Components:
    """Return a model with a ControlNet. It shares the networks of the given model, which does not change.

    Args:
        components: a model of Stable Diffusion 1, 2 or XL.
        path: a diffusers folder with a ControlNetModel, or one .safetensors file.

    Raises:
        InputError: the model is of another family, or the ControlNet is for another, damaged or incomplete.
    """
    net = components.denoiser.net
    if not isinstance(net, ConditionUNet):
        raise InputError(
            f"{path}: a ControlNet needs a U-Net of Stable Diffusion; {components.card.name!r} is "
            f"{components.card.family}"
        )
    mapped = map_tensors(weight_files(path.parent, path.name, path) if path.is_dir() else [path])
    tensors: Mapping[str, Tensor] = mapped.tensors
    _check_family(path, tensors, components)
    config = _config(path, net.unet)
    if any(name.startswith((MAKERS, "time_embed.")) for name in tensors):
        from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

        tensors = convert_controlnet_checkpoint(dict(tensors), config)
    control = empty(CLASS, config, str(path))
    dtype = getattr(torch, components.dtype)
    fingerprint = fill(control, tensors, str(path), dtype, components.device, mapped.release)
    model = Denoiser(net.controlled(control), components.denoiser.process, components.denoiser.kind)
    return replace(components, denoiser=model, attached={**components.attached, "control": fingerprint})


def _config(path: Path, unet: Any) -> dict[str, Any]:
    """Return the config of a folder; for a file, which has none, that of the U-Net."""
    if path.is_dir():
        config = read_json(path / CONFIG, path)
        if config.get("_class_name") != CLASS:
            raise InputError(f"{path}: a {quoted(config.get('_class_name'))}; a ControlNet is a {CLASS}")
        return checked_config(CLASS, config, str(path))
    accepted = inspect.signature(class_of(CLASS).__init__).parameters
    return {name: value for name, value in unet.config.items() if name in accepted and not name.startswith("_")}


def _check_family(path: Path, tensors: Mapping[str, Tensor], components: Components) -> None:
    """Raise InputError for a ControlNet without text or for text of another width."""
    width = next((value.shape[1] for name, value in tensors.items() if name.endswith(TEXT)), None)
    if width is None:
        raise InputError(f"{path}: not a ControlNet: none of its {len(tensors)} tensors has text as its input")
    own = components.denoiser.net.unet.config.cross_attention_dim  # type: ignore[union-attr]
    if width != own:
        family = f" for {WIDTHS[width]}" if width in WIDTHS else ""
        raise InputError(
            f"{path}: a ControlNet{family}, with text of width {width}; {components.card.name!r} is "
            f"{components.card.family}, with text of width {own}"
        )
