"""A ControlNet of this program as one file: its tensors, and in the header its arguments and its base."""

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
from unnoise.formats.tensors import Fingerprint, read_tensors, write_tensors
from unnoise.nets.controlnet import ControlledUNet, ControlNet
from unnoise.nets.unet import UNet


@dataclass(frozen=True, slots=True)
class ControlCard(Strict):
    """Describe a control.

    Args:
        base: the model that it was trained for.
        widths, factor, width: the arguments of `ControlNet`, whose finest resolution is that of the U-Net.
        reads: what its control images show.
        licence: of the weights.
        training: facts of its training, in plain JSON types.
    """

    base: Base
    widths: tuple[int, ...]
    factor: int
    width: int
    reads: str = "outlines"
    licence: str = "unknown"
    training: dict[str, Any] = field(default_factory=dict)

    def build(self) -> ControlNet:
        """Build the network with new weights."""
        return ControlNet(list(self.widths), self.factor, self.width)


def save_control(path: str | os.PathLike[str], control: ControlNet, card: ControlCard) -> None:
    """Write a control atomically, with float16 weights. Raises InputError for a weight that is not finite then."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in control.state_dict().items():
        tensors[name] = tensor.detach().cpu().half()
        if not bool(tensors[name].isfinite().all()):
            raise InputError(f"tensor {name} is not finite in float16")
    write_tensors(path, tensors, {"format": "pt", CONTROL: dump(card)})


def with_control(components: Components, path: Path) -> Components:
    """Return a model with a control. It shares the networks of the given model, which does not change.

    Warns where the file was trained for other weights of the same shapes.
    Raises InputError for a file that is not a control of this program, is damaged, or is for another model.
    """
    header = read_header(path)
    if CONTROL not in header.metadata:
        raise InputError(f"{path}: not a control of this program; its header has no {CONTROL}")
    card = parse(ControlCard, header.metadata[CONTROL], f"{path}: {CONTROL}")
    widths = unet_widths(components)
    if widths != card.widths or cell_factor(components) != card.factor:
        raise InputError(
            f"{path}: a control for {card.base.name!r}, of widths {list(card.widths)}; "
            f"{components.card.name!r} is {components.card.family} of widths {list(widths)}"
        )
    trained, current = card.base.fingerprint, components.card.fingerprint
    if trained and current and trained != current:
        warnings.warn(
            f"{path}: trained on {card.base.name!r} with weights {trained[:12]}, and used on "
            f"{components.card.name!r} with weights {current[:12]}: its effect there was not measured",
            stacklevel=3,
        )
    control = card.build()
    state = {name: tensor.clone().float() for name, tensor in read_tensors(path, header)}
    try:
        control.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: {str(error).splitlines()[-1].strip()}") from None
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"{path}: contains NaN or infinity")
    control.requires_grad_(False).eval().to(components.device)
    fingerprint = Fingerprint()
    for name, tensor in sorted(state.items()):
        fingerprint.add(name, tensor)
    return replace(attach_control(components, control), attached={**components.attached, "control": fingerprint.hex()})


def unet_widths(components: Components) -> tuple[int, ...]:
    """Return the channels of each level of a model's U-Net, finest first. Raises InputError for another network."""
    net = _unet(components)
    stages: Any = (*net.down, net.middle)
    return tuple(stage.blocks[-1].conv2.out_channels for stage in stages)


def cell_factor(components: Components) -> int:
    """Return the pixels of a side of a position of a U-Net's finest resolution. Raises InputError likewise."""
    return components.space.factor * _unet(components).patch


def attach_control(components: Components, control: ControlNet) -> Components:
    """Add a control to the U-Net of a model. Raises InputError for another network than a U-Net of this program."""
    model = Denoiser(ControlledUNet(_unet(components), control), components.denoiser.process, components.denoiser.kind)
    return replace(
        components, denoiser=model, diffusers_networks=components.diffusers_networks or components.networks()
    )


def _unet(components: Components) -> UNet:
    net = components.denoiser.net
    if not isinstance(net, UNet):
        raise InputError(f"control: needs a U-Net of this program; {components.card.name!r} is a {type(net).__name__}")
    return net
