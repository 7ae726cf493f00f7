"""IP-Adapters of Stable Diffusion 1, 2 and XL: a picture is read into tokens, which every cross-attention reads beside
the text. The U-Net stays as it is; hooks add what its layers are to read, for the calls of this network alone.

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

from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.components import weights_dtype
from unnoise.integrations.diffusers.folder import read_json, weight_files
from unnoise.integrations.diffusers.unet import ConditionUNet
from unnoise.integrations.diffusers.weights import fill

ENCODER = "CLIPVisionModelWithProjection"
# What CLIP's pictures are brought to.   Source: Radford et al. 2021; openai/clip-vit-large-patch14, preprocessor_config
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PROJECTION, LAYERS = "image_proj.", "ip_adapter."
_NOW: ContextVar["tuple[IPAdapterUNet, Tensor, Tensor, dict[str, Tensor]] | None"] = ContextVar("looked", default=None)


@dataclass(frozen=True, slots=True)
class IPAdapterImageEncoder:
    """Read a picture (1, 3, h, w) in [-1, 1] into tokens (1, L, C), and the tokens of none, for guidance."""

    features: Callable[[Tensor], Tensor]
    nothing: Callable[[Tensor], Tensor]


class IPAdapterUNet(nn.Module):
    """A U-Net that reads cond.look beside the text, cond.look_weight times, row by row.

    keys, values: by the path of a cross-attention, the layers that make its keys and values of the tokens.
    """

    def __init__(
        self, net: ConditionUNet, keys: nn.ModuleDict, values: nn.ModuleDict, image_encoder: IPAdapterImageEncoder
    ) -> None:
        super().__init__()
        self.net, self.keys, self.values, self.image_encoder = net, keys, values, image_encoder
        self.control = net.control

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w); time: (B,). Raises InputError where there is no look."""
        if cond.ip_adapter_tokens is None or cond.ip_adapter_scale is None:
            raise InputError("cond: this network resembles a picture, and none is given")
        token = _NOW.set((self, cond.ip_adapter_tokens, cond.ip_adapter_scale, {}))
        try:
            with ExitStack() as hooks:
                for name in self.keys:
                    attention = self.net.unet.get_submodule(path_of(name))
                    hooks.callback(attention.to_q.register_forward_hook(self._keep(name)).remove)
                    hooks.callback(attention.to_out[0].register_forward_pre_hook(self._add(name, attention)).remove)
                return self.net(x, time, replace(cond, ip_adapter_tokens=None, ip_adapter_scale=None))
        finally:
            _NOW.reset(token)

    def _keep(self, name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, query: Tensor) -> None:
            now = _NOW.get()
            if now is not None and now[0] is self:
                now[3][name] = query

        return keep

    def _add(self, name: str, attention: Any) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            now = _NOW.get()
            if now is None or now[0] is not self:
                return None
            tokens, weight, query = now[1].to(inputs[0].dtype), now[2].to(inputs[0].dtype), now[3].pop(name)
            q, k, v = (
                part.unflatten(2, (attention.heads, -1)).transpose(1, 2)
                for part in (query, self.keys[name](tokens), self.values[name](tokens))
            )
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return (inputs[0] + weight[:, None, None] * mixed, *inputs[1:])

        return add


def with_ip_adapter(components: Components, path: Path, encoder: Path) -> Components:
    """Give a model that resembles a picture as well: it shares the networks of the one given, which stays as it is.

    path: the file of an IP-Adapter; encoder: the folder of its image encoder. Raises InputError for another base than a
    U-Net of Stable Diffusion, for an adapter of another family, and for what is damaged or incomplete.
    """
    net = components.denoiser.net
    if not isinstance(net, ConditionUNet):
        raise InputError(f"{path}: an IP-Adapter, for a U-Net; {components.card.name!r} is {components.card.family}")
    tensors = map_tensors([path]).tensors
    projection = {name.removeprefix(PROJECTION): t for name, t in tensors.items() if name.startswith(PROJECTION)}
    if not projection or not any(name.startswith(LAYERS) for name in tensors):
        raise InputError(f"{path}: no IP-Adapter: it has no {PROJECTION}* and {LAYERS}* among {len(tensors)} tensors")
    dtype, device = weights_dtype(net.unet), components.device
    keys, values = (_layers(path, tensors, half, net.unet, components) for half in ("to_k_ip", "to_v_ip"))
    reads: Any = net.unet._convert_ip_adapter_image_proj_to_diffusers(projection, low_cpu_mem_usage=False)
    reads = reads.to(device, dtype).requires_grad_(False).eval()
    sees = _encoder(encoder, dtype, device)
    deep = "latents" in projection  # "plus": it reads the hidden states of every patch, not the pooled picture
    image_encoder = IPAdapterImageEncoder(*(_reader(sees, reads, deep, shown) for shown in (True, False)))
    model = Denoiser(
        IPAdapterUNet(net, keys, values, image_encoder), components.denoiser.process, components.denoiser.kind
    )
    return replace(components, denoiser=model)


def _layers(path: Path, tensors: Mapping[str, Tensor], half: str, unet: Any, components: Components) -> nn.ModuleDict:
    """Take the layers of all cross-attentions, which the file numbers by the order of the U-Net's processors."""
    found = nn.ModuleDict()
    crossed = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    for k, place in enumerate(crossed):
        name = f"{LAYERS}{2 * k + 1}.{half}.weight"
        if name not in tensors:
            raise InputError(f"{path}: lacks {name}: it was made for a U-Net of {_count(tensors)} cross-attentions")
        weight, own = tensors[name], unet.get_submodule(place).to_k.weight
        if weight.shape != own.shape:
            raise InputError(
                f"{path}: {name} is {list(weight.shape)}, an IP-Adapter for another family: {components.card.name!r} is "
                f"{components.card.family}, where that is {list(own.shape)}"
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
    """Give the path of a layer from its key, in which torch allows no dots."""
    return name.replace("/", ".")


def _count(tensors: Mapping[str, Tensor]) -> int:
    return sum(name.endswith("to_k_ip.weight") for name in tensors)


def _encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    config = read_json(folder / "config.json")
    made = empty(ENCODER, config, str(folder))
    mapped = map_tensors(weight_files(folder.parent, folder.name))
    fill(made, mapped.tensors, str(folder), dtype, device, mapped.release)
    return made


def _reader(sees: Any, reads: Any, deep: bool, shown: bool) -> Callable[[Tensor], Tensor]:
    """Give what reads a picture; not `shown`, what is read where there is none."""

    @torch.no_grad()
    def read(picture: Tensor) -> Tensor:
        seen = prepared(picture, int(sees.config.image_size)).to(weights_dtype(sees))
        if deep:
            answer = sees(seen if shown else torch.zeros_like(seen), output_hidden_states=True).hidden_states[-2]
        else:
            answer = sees(seen).image_embeds
            answer = answer if shown else torch.zeros_like(answer)
        tokens: Tensor = reads(answer)
        return tokens.reshape(1, -1, tokens.shape[-1])

    return read


def prepared(picture: Tensor, side: int) -> Tensor:
    """Bring a picture (1, 3, h, w) in [-1, 1] to what CLIP sees: its middle, side x side, each colour normalised."""
    height, width = picture.shape[-2:]
    scale = side / min(height, width)
    if scale != 1:
        size = max(side, round(height * scale)), max(side, round(width * scale))
        picture = F.interpolate(picture, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    top, left = (picture.shape[-2] - side) // 2, (picture.shape[-1] - side) // 2
    middle = (picture[..., top : top + side, left : left + side] + 1) / 2
    mean, std = (picture.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (middle - mean) / std
