"""Rename the weights of diffusers' classes to the names in single files: the inverse of the converters."""

import re

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
OUTER = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def unet(net: nn.Module) -> State:
    """Return a U-Net with the names of latent-diffusion."""
    layers = net.config.layers_per_block
    return {f"model.diffusion_model.{_unet(name, layers, net)}": value for name, value in net.state_dict().items()}


def _unet(name: str, layers: int, net: nn.Module) -> str:
    for ours, theirs in OUTER.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    if found := re.match(r"mid_block\.(attentions|resnets)\.(\d)\.(.*)", name):
        place = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{place}.{_resnet(found[3], found[1])}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert found is not None, name
    way, level, part, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if way == "down":
        at = 1 + level * (layers + 1) + number
        if part == "downsamplers":
            return f"input_blocks.{(level + 1) * (layers + 1)}.0.{rest.replace('conv', 'op', 1)}"
        return f"input_blocks.{at}.{int(part == 'attentions')}.{_resnet(rest, part)}"
    at = level * (layers + 1) + number
    if part == "upsamplers":
        attends = f"up_blocks.{level}.attentions.0.norm.weight" in net.state_dict()
        return f"output_blocks.{level * (layers + 1) + layers}.{1 + attends}.{rest}"
    return f"output_blocks.{at}.{int(part == 'attentions')}.{_resnet(rest, part)}"


def _resnet(rest: str, part: str) -> str:
    head, _, tail = rest.partition(".")
    return rest if part != "resnets" else f"{RESNET[head]}.{tail}"


def vae(net: nn.Module, prefix: str = "first_stage_model.") -> State:
    """Return an autoencoder with the names of latent-diffusion, where attention has 1 x 1 convolutions."""
    count, found = len(net.config.block_out_channels), {}
    for name, value in net.state_dict().items():
        new = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
        new = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", new)
        new = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{count - 1 - int(m[1])}.block.", new)
        new = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{count - 1 - int(m[1])}.upsample.", new)
        new = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", new)
        new = new.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "mid_block.attentions.0." in new:
            new = new.replace("mid_block.attentions.0.", "mid.attn_1.")
            for ours, theirs in ATTENTION.items():
                new = new.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
            value = value[:, :, None, None] if value.ndim == 2 else value
        found[prefix + new] = value
    return found


def clip(net: nn.Module, prefix: str) -> State:
    """Return a CLIP with the names of published files, with text_model."""
    names = {name: value for name, value in net.state_dict().items() if "position_ids" not in name}
    published = {name if name.startswith("text_") else f"text_model.{name}": value for name, value in names.items()}
    return {f"{prefix}{name}": value for name, value in published.items()}


def open_clip(net: nn.Module, prefix: str) -> State:
    """Return a CLIP with the names of OpenCLIP."""
    found: State = {}
    state = {name.removeprefix("text_model."): value for name, value in net.state_dict().items()}
    for name, value in state.items():
        if match := re.match(r"encoder\.layers\.(\d+)\.(.*)", name):
            rest = match[2]
            if re.match(r"self_attn\.[kv]_proj", rest):
                continue
            if rest.startswith("self_attn.q_proj"):
                kinds = [state[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
                new, value = f"attn.in_proj_{rest.rpartition('.')[2]}", torch.cat(kinds)
            else:
                new = next(rest.replace(ours, theirs) for ours, theirs in OPEN.items() if rest.startswith(ours))
            found[f"{prefix}transformer.resblocks.{match[1]}.{new}"] = value
    found[f"{prefix}token_embedding.weight"] = state["embeddings.token_embedding.weight"]
    found[f"{prefix}positional_embedding"] = state["embeddings.position_embedding.weight"]
    for end in ("weight", "bias"):
        found[f"{prefix}ln_final.{end}"] = state[f"final_layer_norm.{end}"]
    if "text_projection.weight" in state:
        found[f"{prefix}text_projection"] = state["text_projection.weight"].T
    return found
