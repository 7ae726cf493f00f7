"""ControlNets of Stable Diffusion 1, 2 and XL: a folder or file of a control, put beside the U-Net it was made for.

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
from unnoise.errors import InputError
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.classes import class_of, empty
from unnoise.integrations.diffusers.folder import read_json, weight_files
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.integrations.diffusers.weights import fill

CLASS = "ControlNetModel"
TEXT = ("attn2.to_k.weight",)  # whose width is that of the text
WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
MAKERS = "control_model."  # how names begin in files of the makers' layout


def controlled(components: Components, path: Path) -> Components:
    """Give a model that follows a hint as well: it shares the networks of the one given, which stays as it is.

    path: a folder of diffusers with a ControlNetModel, or one .safetensors file. Raises InputError for another base than a
    U-Net of Stable Diffusion, for a control of another family, and for what is damaged or incomplete.
    """
    net = components.denoiser.net
    if not isinstance(net, ConditionUNet):
        raise InputError(
            f"{path}: a control stands beside a U-Net, and {components.card.name!r} is {components.card.family}"
        )
    mapped = map_tensors(weight_files(path.parent, path.name) if path.is_dir() else [path])
    tensors: Mapping[str, Tensor] = mapped.tensors
    _check_family(path, tensors, components)
    config = _config(path, net.unet)
    if any(name.startswith((MAKERS, "time_embed.")) for name in tensors):
        from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

        tensors = convert_controlnet_checkpoint(dict(tensors), config)
    control = empty(CLASS, config, str(path))
    fill(control, tensors, str(path), getattr(torch, components.dtype), components.device, mapped.release)
    model = Denoiser(ConditionUNet(net.unet, control), components.denoiser.process, components.denoiser.kind)
    return replace(components, denoiser=model)


def _config(path: Path, unet: Any) -> dict[str, Any]:
    """Read a folder's config; of a file, which has none, that of the U-Net it stands beside."""
    if path.is_dir():
        config = read_json(path / "config.json")
        if config.get("_class_name") != CLASS:
            raise InputError(f"{path}: a {config.get('_class_name')!r}, and a control is a {CLASS}")
        return config
    wanted = inspect.signature(class_of(CLASS).__init__).parameters
    return {name: value for name, value in unet.config.items() if name in wanted and not name.startswith("_")}


def _check_family(path: Path, tensors: Mapping[str, Tensor], components: Components) -> None:
    """Raise InputError where a control reads text of another width than the U-Net, or has blocks of other widths."""
    read = next((value.shape[1] for name, value in tensors.items() if name.endswith(TEXT)), None)
    if read is None:
        raise InputError(f"{path}: no control: none of its {len(tensors)} tensors reads a text")
    wanted = components.denoiser.net.unet.config.cross_attention_dim  # type: ignore[union-attr]
    if read != wanted:
        of = f" for {WIDTHS[read]}" if read in WIDTHS else ""
        raise InputError(
            f"{path}: a control{of}, which reads a text {read} wide; {components.card.name!r} is {components.card.family}, "
            f"whose text is {wanted} wide"
        )
