"""A control as one file: its tensors, and in the header its arguments and the base that it was trained beside."""

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.adapters.lora.compatibility import Base
from unnoise.components import Components
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError
from unnoise.families.own import CONTROL
from unnoise.formats.header import read_header
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.formats.tensors import read_tensors, write_tensors
from unnoise.nets.controlnet import ControlledUNet, ControlNet
from unnoise.nets.unet import UNet


@dataclass(frozen=True, slots=True)
class ControlCard(Strict):
    """Say what a control is. widths, factor, width: as `ControlNet` takes them; reads: what its hints show."""

    base: Base
    widths: tuple[int, ...]
    factor: int
    width: int
    reads: str = "outlines"
    licence: str = "unknown"
    training: dict[str, Any] = field(default_factory=dict)

    def made(self) -> ControlNet:
        """Make it, with fresh weights."""
        return ControlNet(list(self.widths), self.factor, self.width)


def save_control(path: str | os.PathLike[str], control: ControlNet, about: ControlCard) -> None:
    """Write a control atomically, its weights in float16. Raises InputError where one is not finite there."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in control.state_dict().items():
        tensors[name] = tensor.detach().cpu().half()
        if not bool(tensors[name].isfinite().all()):
            raise InputError(f"tensor {name} is not finite in float16")
    write_tensors(path, tensors, {"format": "pt", CONTROL: dump(about)})


def controlled(components: Components, path: Path) -> Components:
    """Give a model that follows hints as well: it shares the networks of the one given, which stays as it is.

    Raises InputError for a file that is no control of this program, is damaged, or is for another model. Warns where the
    shapes are those of its base and the weights are not.
    """
    header = read_header(path)
    if CONTROL not in header.metadata:
        raise InputError(f"{path}: no control of this program, its header has no {CONTROL}")
    about = parse(ControlCard, header.metadata[CONTROL], f"{path}: {CONTROL}")
    widths = widths_of(components)
    if widths != about.widths or components.space.factor != about.factor:
        raise InputError(
            f"{path}: follows {about.reads} beside {about.base.name!r}, of widths {list(about.widths)}; "
            f"{components.card.name!r} is {components.card.family} of widths {list(widths)}"
        )
    trained, here = about.base.fingerprint, components.card.fingerprint
    if trained and here and trained != here:
        warnings.warn(
            f"{path}: was trained beside {about.base.name!r} of weights {trained[:12]}, and is used beside "
            f"{components.card.name!r} of weights {here[:12]}: what it does there was not measured",
            stacklevel=3,
        )
    control = about.made()
    state = {name: tensor.clone().float() for name, tensor in read_tensors(path, header)}
    try:
        control.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: {str(error).splitlines()[-1].strip()}") from None
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"{path}: holds NaN or infinity")
    control.requires_grad_(False).eval().to(components.device)
    return following(components, control)


def widths_of(components: Components) -> tuple[int, ...]:
    """Give the channels of each level of a model's U-Net, finest first. Raises InputError for another network."""
    net = _unet(components)
    stages: Any = (*net.down, net.middle)
    return tuple(stage.blocks[-1].conv2.out_channels for stage in stages)


def following(components: Components, control: ControlNet) -> Components:
    """Put a control beside the U-Net of a model. Raises InputError for another network than a U-Net of this program."""
    model = Denoiser(ControlledUNet(_unet(components), control), components.denoiser.process, components.denoiser.kind)
    return replace(
        components, denoiser=model, diffusers_networks=components.diffusers_networks or components.networks()
    )


def _unet(components: Components) -> UNet:
    net = components.denoiser.net
    if not isinstance(net, UNet):
        raise InputError(
            f"control: beside a U-Net of this program, and {components.card.name!r} is a {type(net).__name__}"
        )
    return net
