"""The names of layers in the original layouts of models, where diffusers renames them or splits fused layers.

Source: diffusers, loaders/single_file_utils.py and loaders/lora_conversion_utils.py; black-forest-labs/flux, model.py;
Stability-AI/sd3.5, mmditx.py; Wan-Video/Wan2.1, wan/modules/model.py; PixArt-alpha/PixArt-sigma, diffusion/model/nets.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from unnoise.adapters.lora.targets import is_norm

LayerRows = tuple[
    str, tuple[int, int, int] | None
]  # a layer in diffusers, and its rows of the original layer; None = all
Table = Mapping[str, tuple[str, ...]]  # the original name -> names in diffusers; {} is the number of a block
QKV = ("to_q", "to_k", "to_v")

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d)
RESNET = {  # of diffusers, and latent-diffusion
    "norm1": "in_layers.0",
    "norm2": "out_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def _among(start: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{start}{name}" for name in names)


DOUBLE, SINGLE, JOINT = "transformer_blocks.{}.", "single_transformer_blocks.{}.", "transformer_blocks.{}."
FLUX: Table = {
    "double_blocks.{}.img_attn.qkv": _among(f"{DOUBLE}attn.", QKV),
    "double_blocks.{}.txt_attn.qkv": _among(f"{DOUBLE}attn.", ("add_q_proj", "add_k_proj", "add_v_proj")),
    "double_blocks.{}.img_attn.proj": (f"{DOUBLE}attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": (f"{DOUBLE}attn.to_add_out",),
    "double_blocks.{}.img_mlp.0": (f"{DOUBLE}ff.net.0.proj",),
    "double_blocks.{}.img_mlp.2": (f"{DOUBLE}ff.net.2",),
    "double_blocks.{}.txt_mlp.0": (f"{DOUBLE}ff_context.net.0.proj",),
    "double_blocks.{}.txt_mlp.2": (f"{DOUBLE}ff_context.net.2",),
    "double_blocks.{}.img_mod.lin": (f"{DOUBLE}norm1.linear",),
    "double_blocks.{}.txt_mod.lin": (f"{DOUBLE}norm1_context.linear",),
    "single_blocks.{}.linear1": (*_among(f"{SINGLE}attn.", QKV), f"{SINGLE}proj_mlp"),
    "single_blocks.{}.linear2": (f"{SINGLE}proj_out",),
    "single_blocks.{}.modulation.lin": (f"{SINGLE}norm.linear",),
    "double_blocks.{}.img_attn.norm.query_norm": (f"{DOUBLE}attn.norm_q",),
    "double_blocks.{}.img_attn.norm.key_norm": (f"{DOUBLE}attn.norm_k",),
    "double_blocks.{}.txt_attn.norm.query_norm": (f"{DOUBLE}attn.norm_added_q",),
    "double_blocks.{}.txt_attn.norm.key_norm": (f"{DOUBLE}attn.norm_added_k",),
    "single_blocks.{}.norm.query_norm": (f"{SINGLE}attn.norm_q",),
    "single_blocks.{}.norm.key_norm": (f"{SINGLE}attn.norm_k",),
    "double_blocks.{}.qkv_lora1": _among(f"{DOUBLE}attn.", QKV),  # of XLabs, as the next five
    "double_blocks.{}.qkv_lora2": _among(f"{DOUBLE}attn.", ("add_q_proj", "add_k_proj", "add_v_proj")),
    "double_blocks.{}.proj_lora1": (f"{DOUBLE}attn.to_out.0",),
    "double_blocks.{}.proj_lora2": (f"{DOUBLE}attn.to_add_out",),
    "single_blocks.{}.qkv": _among(f"{SINGLE}attn.", QKV),
    "single_blocks.{}.proj": (f"{SINGLE}proj_out",),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
SD3: Table = {
    "joint_blocks.{}.x_block.attn.qkv": _among(f"{JOINT}attn.", QKV),
    "joint_blocks.{}.context_block.attn.qkv": _among(f"{JOINT}attn.", ("add_q_proj", "add_k_proj", "add_v_proj")),
    "joint_blocks.{}.x_block.attn2.qkv": _among(f"{JOINT}attn2.", QKV),
    "joint_blocks.{}.x_block.attn.ln_q": (f"{JOINT}attn.norm_q",),
    "joint_blocks.{}.x_block.attn.ln_k": (f"{JOINT}attn.norm_k",),
    "joint_blocks.{}.context_block.attn.ln_q": (f"{JOINT}attn.norm_added_q",),
    "joint_blocks.{}.context_block.attn.ln_k": (f"{JOINT}attn.norm_added_k",),
    "joint_blocks.{}.x_block.attn.proj": (f"{JOINT}attn.to_out.0",),
    "joint_blocks.{}.x_block.attn2.proj": (f"{JOINT}attn2.to_out.0",),
    "joint_blocks.{}.context_block.attn.proj": (f"{JOINT}attn.to_add_out",),
    "joint_blocks.{}.x_block.mlp.fc1": (f"{JOINT}ff.net.0.proj",),
    "joint_blocks.{}.x_block.mlp.fc2": (f"{JOINT}ff.net.2",),
    "joint_blocks.{}.context_block.mlp.fc1": (f"{JOINT}ff_context.net.0.proj",),
    "joint_blocks.{}.context_block.mlp.fc2": (f"{JOINT}ff_context.net.2",),
    "joint_blocks.{}.x_block.adaLN_modulation.1": (f"{JOINT}norm1.linear",),
    "joint_blocks.{}.context_block.adaLN_modulation.1": (f"{JOINT}norm1_context.linear",),
    "x_embedder.proj": ("pos_embed.proj",),
    "t_embedder.mlp.0": ("time_text_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_text_embed.timestep_embedder.linear_2",),
    "y_embedder.mlp.0": ("time_text_embed.text_embedder.linear_1",),
    "y_embedder.mlp.2": ("time_text_embed.text_embedder.linear_2",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
WAN: Table = {
    **{
        f"blocks.{{}}.{original}.{one}": (f"blocks.{{}}.{renamed}.{other}",)
        for original, renamed in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for one, other in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    **{
        f"blocks.{{}}.{original}.norm_{one}": (f"blocks.{{}}.{renamed}.norm_{one}",)
        for original, renamed in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for one in ("q", "k")
    },
    "blocks.{}.norm3": ("blocks.{}.norm2",),
    "img_emb.proj.1": ("condition_embedder.image_embedder.ff.net.0.proj",),
    "img_emb.proj.3": ("condition_embedder.image_embedder.ff.net.2",),
    "blocks.{}.cross_attn.k_img": ("blocks.{}.attn2.add_k_proj",),
    "blocks.{}.cross_attn.v_img": ("blocks.{}.attn2.add_v_proj",),
    "blocks.{}.ffn.0": ("blocks.{}.ffn.net.0.proj",),
    "blocks.{}.ffn.2": ("blocks.{}.ffn.net.2",),
    "text_embedding.0": ("condition_embedder.text_embedder.linear_1",),
    "text_embedding.2": ("condition_embedder.text_embedder.linear_2",),
    "time_embedding.0": ("condition_embedder.time_embedder.linear_1",),
    "time_embedding.2": ("condition_embedder.time_embedder.linear_2",),
    "time_projection.1": ("condition_embedder.time_proj",),
    "head.head": ("proj_out",),
}
PIXART: Table = {
    "blocks.{}.attn.qkv": _among(f"{DOUBLE}attn1.", QKV),
    "blocks.{}.attn.proj": (f"{DOUBLE}attn1.to_out.0",),
    "blocks.{}.cross_attn.q_linear": (f"{DOUBLE}attn2.to_q",),
    "blocks.{}.cross_attn.kv_linear": _among(f"{DOUBLE}attn2.", ("to_k", "to_v")),
    "blocks.{}.cross_attn.proj": (f"{DOUBLE}attn2.to_out.0",),
    "blocks.{}.mlp.fc1": (f"{DOUBLE}ff.net.0.proj",),
    "blocks.{}.mlp.fc2": (f"{DOUBLE}ff.net.2",),
    "x_embedder.proj": ("pos_embed.proj",),
    "t_embedder.mlp.0": ("adaln_single.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("adaln_single.emb.timestep_embedder.linear_2",),
    "t_block.1": ("adaln_single.linear",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "final_layer.linear": ("proj_out",),
}
LTX: Table = {
    "patchify_proj": ("proj_in",),
    "adaln_single.linear": ("time_embed.linear",),
    "adaln_single.emb.timestep_embedder.linear_1": ("time_embed.emb.timestep_embedder.linear_1",),
    "adaln_single.emb.timestep_embedder.linear_2": ("time_embed.emb.timestep_embedder.linear_2",),
}
SANA: Table = {
    "blocks.{}.attn.qkv": _among(f"{DOUBLE}attn1.", QKV),
    "blocks.{}.attn.proj": (f"{DOUBLE}attn1.to_out.0",),
    "blocks.{}.cross_attn.q_linear": (f"{DOUBLE}attn2.to_q",),
    "blocks.{}.cross_attn.kv_linear": _among(f"{DOUBLE}attn2.", ("to_k", "to_v")),
    "blocks.{}.cross_attn.proj": (f"{DOUBLE}attn2.to_out.0",),
    "blocks.{}.mlp.inverted_conv.conv": (f"{DOUBLE}ff.conv_inverted",),
    "blocks.{}.mlp.point_conv.conv": (f"{DOUBLE}ff.conv_point",),
    "x_embedder.proj": ("patch_embed.proj",),
    "t_embedder.mlp.0": ("time_embed.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_embed.emb.timestep_embedder.linear_2",),
    "t_block.1": ("time_embed.linear",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "final_layer.linear": ("proj_out",),
}
TABLES: Mapping[str, Table] = {"flux1": FLUX, "sd3": SD3, "wan": WAN, "pixart": PIXART, "sana": SANA, "ltx": LTX}
# Layers in which diffusers swaps shift and scale: the last norm, and the text norm of the last block of SD3.
SWAPPED = ("norm_out.linear",)


def fused(net: nn.Module, family: str) -> Iterator[tuple[str, tuple[LayerRows, ...]]]:
    """List the original names of a transformer's layers, each with its layers in diffusers."""
    sizes: dict[str, int] = {path: len(module.weight) for path, module in net.named_modules() if _has_rows(module)}
    last = f"transformer_blocks.{len(getattr(net, 'transformer_blocks', ())) - 1}.norm1_context.linear"
    swapped = (*SWAPPED, last) if family == "sd3" else SWAPPED
    for name, targets in TABLES.get(family, {}).items():
        for k in range(len(sizes)) if "{}" in name else range(1):
            paths = [target.format(k) for target in targets]
            if not all(path in sizes for path in paths):
                break
            yield name.format(k), tuple(_cut(paths, sizes, swapped))


def _has_rows(module: nn.Module) -> bool:
    return isinstance(module, LAYERS) or is_norm(module)


def _cut(paths: list[str], sizes: Mapping[str, int], swapped: tuple[str, ...]) -> Iterator[LayerRows]:
    total, first = sum(sizes[path] for path in paths), 0
    for path in paths:
        last = first + sizes[path]
        if path in swapped:
            yield path, (total // 2, total + total // 2, total)
        else:
            yield path, None if len(paths) == 1 else (first, last, total)
        first = last


def unet(net: Any) -> Iterator[tuple[str, tuple[LayerRows, ...]]]:
    """List the latent-diffusion names of the layers of a U-Net."""
    starts = dict(_blocks(net))
    for path, module in net.named_modules():
        if not _has_rows(module):
            continue
        if path in UNET:
            yield UNET[path], ((path, None),)
        for start, original in starts.items():
            if path.startswith(f"{start}."):
                rest = path[len(start) + 1 :]
                inner = RESNET.get(rest, rest) if "resnets" in start else "op" if "downsamplers" in start else rest
                yield f"{original}.{inner}", ((path, None),)


def _blocks(net: Any) -> Iterator[tuple[str, str]]:
    """Pair the blocks of diffusers' U-Net with those of latent-diffusion, which are numbered across all levels."""
    at = 1
    for b, block in enumerate(net.down_blocks):
        for k in range(len(block.resnets)):
            yield f"down_blocks.{b}.resnets.{k}", f"input_blocks.{at}.0"
            yield f"down_blocks.{b}.attentions.{k}", f"input_blocks.{at}.1"
            at += 1
        if getattr(block, "downsamplers", None):
            yield f"down_blocks.{b}.downsamplers.0", f"input_blocks.{at}.0"
            at += 1
    yield "mid_block.resnets.0", "middle_block.0"
    yield "mid_block.attentions.0", "middle_block.1"
    yield "mid_block.resnets.1", "middle_block.2"
    at = 0
    for b, block in enumerate(net.up_blocks):
        for k in range(len(block.resnets)):
            yield f"up_blocks.{b}.resnets.{k}", f"output_blocks.{at}.0"
            yield f"up_blocks.{b}.attentions.{k}", f"output_blocks.{at}.1"
            at += 1
        if getattr(block, "upsamplers", None):
            place = 2 if getattr(block, "attentions", None) else 1
            yield f"up_blocks.{b}.upsamplers.0", f"output_blocks.{at - 1}.{place}"
