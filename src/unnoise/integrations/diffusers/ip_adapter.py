"""IP-Adapters of Stable Diffusion 1, 2 and XL: tokens of an image are a second input of every cross-attention.

The U-Net does not change: hooks add the attention to image tokens, in the calls of one network only.

Source: Ye et al. 2023 (IP-Adapter), eq. 5; diffusers, models/attention_processor.py and loaders/unet.py.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.adapters.uncompiled import uncompiled
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError
from unnoise.formats.diffusers_folder import CONFIG, weight_files
from unnoise.formats.json_text import read_json
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.components import weights_dtype
from unnoise.integrations.diffusers.config import checked_config
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.integrations.diffusers.weights import fill, joined, sampled_fingerprint

ENCODER = "CLIPVisionModelWithProjection"
# The mean and standard deviation of CLIP's images.
# Source: Radford et al. 2021; openai/clip-vit-large-patch14, preprocessor_config.json
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PROJECTION, LAYERS = "image_proj.", "ip_adapter."
# The network of the current call, its tokens and scales, and the queries of its layers.
_CALL: ContextVar["tuple[IPAdapterUNet, Tensor, Tensor, dict[str, Tensor]] | None"] = ContextVar("call", default=None)


@dataclass(frozen=True, slots=True)
class IPAdapterImageEncoder:
    """Encode an image (1, 3, h, w) in [-1, 1] into tokens (1, L, C).

    features: of the image; nothing: of no image, for guidance.
    """

    features: Callable[[Tensor], Tensor]
    nothing: Callable[[Tensor], Tensor]


class IPAdapterUNet(nn.Module):
    """A U-Net whose cross-attention also attends to cond.ip_adapter_tokens, with cond.ip_adapter_scale in each row.

    keys, values: the layers that compute keys and values of the tokens, by the path of each cross-attention.
    """

    def __init__(
        self, net: ConditionUNet, keys: nn.ModuleDict, values: nn.ModuleDict, image_encoder: IPAdapterImageEncoder
    ) -> None:
        super().__init__()
        self.net, self.keys, self.values, self.image_encoder = net, keys, values, image_encoder
        self.control = net.control

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w); time: (B,). Raises InputError without image tokens and their scale."""
        if cond.ip_adapter_tokens is None or cond.ip_adapter_scale is None:
            raise InputError("conditioning: an IP-Adapter needs ip_adapter_tokens and ip_adapter_scale")
        token = _CALL.set((self, cond.ip_adapter_tokens, cond.ip_adapter_scale, {}))
        try:
            with ExitStack() as hooks, uncompiled():
                for name in self.keys:
                    attention = self.net.unet.get_submodule(path_of(name))
                    hooks.callback(attention.to_q.register_forward_hook(self._store_query(name)).remove)
                    hooks.callback(
                        attention.to_out[0].register_forward_pre_hook(self._add_attention(name, attention)).remove
                    )
                return self.net(x, time, replace(cond, ip_adapter_tokens=None, ip_adapter_scale=None))
        finally:
            _CALL.reset(token)

    def _store_query(self, name: str) -> Any:
        def store(module: nn.Module, inputs: Any, query: Tensor) -> None:
            call = _CALL.get()
            if call is not None and call[0] is self:
                call[3][name] = query

        return store

    def _add_attention(self, name: str, attention: Any) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            call = _CALL.get()
            if call is None or call[0] is not self:
                return None
            tokens, scale, query = call[1].to(inputs[0].dtype), call[2].to(inputs[0].dtype), call[3].pop(name)
            q, k, v = (
                part.unflatten(2, (attention.heads, -1)).transpose(1, 2)
                for part in (query, self.keys[name](tokens), self.values[name](tokens))
            )
            attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return (inputs[0] + scale[:, None, None] * attended, *inputs[1:])

        return add


def with_ip_adapter(components: Components, path: Path, encoder: Path) -> Components:
    """Return a model with an IP-Adapter. It shares the networks of the given model, which does not change.

    Args:
        components: a model of Stable Diffusion 1, 2 or XL.
        path: the file of the IP-Adapter.
        encoder: the folder of its image encoder.

    Raises:
        InputError: the model is of another family, or the adapter is for another, damaged or incomplete.
    """
    net = components.denoiser.net
    if not isinstance(net, ConditionUNet):
        raise InputError(
            f"{path}: an IP-Adapter needs a U-Net of Stable Diffusion; {components.card.name!r} is "
            f"{components.card.family}"
        )
    tensors = map_tensors([path]).tensors
    projection = {name.removeprefix(PROJECTION): t for name, t in tensors.items() if name.startswith(PROJECTION)}
    if not projection or not any(name.startswith(LAYERS) for name in tensors):
        raise InputError(f"{path}: not an IP-Adapter: none of its {len(tensors)} tensors is {PROJECTION}* or {LAYERS}*")
    dtype, device = weights_dtype(net.unet), components.device
    keys, values = (_layers(path, tensors, half, net.unet, components) for half in ("to_k_ip", "to_v_ip"))
    project: Any = net.unet._convert_ip_adapter_image_proj_to_diffusers(projection, low_cpu_mem_usage=False)
    project = project.to(device, dtype).requires_grad_(False).eval()
    vision, encoder_fingerprint = _encoder(encoder, dtype, device)
    plus = "latents" in projection  # its input is the hidden states of every patch, not the pooled image
    image_encoder = IPAdapterImageEncoder(*(_image_encoder(vision, project, plus, image) for image in (True, False)))
    model = Denoiser(
        IPAdapterUNet(net, keys, values, image_encoder), components.denoiser.process, components.denoiser.kind
    )
    fingerprint = joined({"adapter": sampled_fingerprint(tensors), "encoder": encoder_fingerprint})
    return replace(components, denoiser=model, attached={**components.attached, "ip_adapter": fingerprint})


def _layers(path: Path, tensors: Mapping[str, Tensor], half: str, unet: Any, components: Components) -> nn.ModuleDict:
    """Return the layers of all cross-attentions, which the file numbers in the order of the U-Net's processors."""
    found = nn.ModuleDict()
    crossed = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    for k, place in enumerate(crossed):
        name = f"{LAYERS}{2 * k + 1}.{half}.weight"
        if name not in tensors:
            raise InputError(f"{path}: missing tensor {name}: it is for a U-Net of {_count(tensors)} cross-attentions")
        weight, own = tensors[name], unet.get_submodule(place).to_k.weight
        if weight.shape != own.shape:
            raise InputError(
                f"{path}: {name} is {list(weight.shape)}, an IP-Adapter for another family: {components.card.name!r} "
                f"is {components.card.family}, where it is {list(own.shape)}"
            )
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        layer.weight = nn.Parameter(weight.to(own.device, own.dtype), requires_grad=False)
        found[place.replace(".", "/")] = layer
    if _count(tensors) != len(crossed):
        raise InputError(
            f"{path}: for a U-Net of {_count(tensors)} cross-attentions, {components.card.name!r} has {len(crossed)}"
        )
    return found


def path_of(name: str) -> str:
    """Return the path of a layer from its key, in which torch allows no dots."""
    return name.replace("/", ".")


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(name.endswith("to_k_ip.weight") for name in tensors)


def _encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> tuple[Any, str]:
    config = checked_config(ENCODER, read_json(folder / CONFIG, folder), str(folder))
    net = empty(ENCODER, config, str(folder))
    mapped = map_tensors(weight_files(folder.parent, folder.name, folder))
    return net, fill(net, mapped.tensors, str(folder), dtype, device, mapped.release)


def _image_encoder(vision: Any, project: Any, plus: bool, image: bool) -> Callable[[Tensor], Tensor]:
    """Return the function that computes the tokens of an image, or of no image."""

    @torch.no_grad()
    def encode(pixels: Tensor) -> Tensor:
        inputs = prepared(pixels, int(vision.config.image_size)).to(weights_dtype(vision))
        if plus:
            states = vision(inputs if image else torch.zeros_like(inputs), output_hidden_states=True).hidden_states[-2]
        else:
            states = vision(inputs).image_embeds
            states = states if image else torch.zeros_like(states)
        tokens: Tensor = project(states)
        return tokens.reshape(1, -1, tokens.shape[-1])

    return encode


def prepared(image: Tensor, side: int) -> Tensor:
    """Crop the centre of an image (1, 3, h, w) in [-1, 1] to side x side and normalise its colours as CLIP's input."""
    height, width = image.shape[-2:]
    scale = side / min(height, width)
    if scale != 1:
        size = max(side, round(height * scale)), max(side, round(width * scale))
        image = F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    middle = (image[..., top : top + side, left : left + side] + 1) / 2
    mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (middle - mean) / std
