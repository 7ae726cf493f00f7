"""Rename the weights of diffusers' transformers to the original names: the inverse of the converters."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]
SD3 = {
    "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_q+attn.to_k+attn.to_v": "x_block.attn.qkv", "attn.to_out.0": "x_block.attn.proj",
    "attn.add_q_proj+attn.add_k_proj+attn.add_v_proj": "context_block.attn.qkv",
    "attn.to_add_out": "context_block.attn.proj", "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
}  # fmt: skip
SD3_OUTER = {
    "pos_embed.pos_embed": "pos_embed", "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2", "norm_out.linear": "final_layer.adaLN_modulation.1",
}  # fmt: skip
SANA = {
    "attn1.to_q+attn1.to_k+attn1.to_v": "attn.qkv", "attn1.to_out.0": "attn.proj", "attn2.to_q": "cross_attn.q_linear",
    "attn2.to_k+attn2.to_v": "cross_attn.kv_linear", "attn2.to_out.0": "cross_attn.proj",
    "ff.conv_inverted": "mlp.inverted_conv.conv", "ff.conv_depth": "mlp.depth_conv.conv",
    "ff.conv_point": "mlp.point_conv.conv", "scale_shift_table": "scale_shift_table",
}  # fmt: skip
SANA_OUTER = {
    "patch_embed.proj": "x_embedder.proj", "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2", "time_embed.linear": "t_block.1",
    "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    "caption_norm": "attention_y_norm", "proj_out": "final_layer.linear",
    "scale_shift_table": "final_layer.scale_shift_table",
}  # fmt: skip
PIXART = {
    "attn1.to_q+attn1.to_k+attn1.to_v": "attn.qkv", "attn1.to_out.0": "attn.proj", "attn2.to_q": "cross_attn.q_linear",
    "attn2.to_k+attn2.to_v": "cross_attn.kv_linear", "attn2.to_out.0": "cross_attn.proj", "ff.net.0.proj": "mlp.fc1",
    "ff.net.2": "mlp.fc2", "scale_shift_table": "scale_shift_table",
}  # fmt: skip
PIXART_OUTER = {
    "pos_embed.proj": "x_embedder.proj", "caption_projection.linear_1": "y_embedder.y_proj.fc1",
    "caption_projection.linear_2": "y_embedder.y_proj.fc2", "adaln_single.linear": "t_block.1",
    "adaln_single.emb.timestep_embedder.linear_1": "t_embedder.mlp.0", "proj_out": "final_layer.linear",
    "adaln_single.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "scale_shift_table": "final_layer.scale_shift_table",
}  # fmt: skip
FLUX = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin", "attn.to_out.0": "img_attn.proj",
    "attn.to_q+attn.to_k+attn.to_v": "img_attn.qkv", "attn.to_add_out": "txt_attn.proj",
    "attn.add_q_proj+attn.add_k_proj+attn.add_v_proj": "txt_attn.qkv", "ff.net.0.proj": "img_mlp.0",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm", "ff.net.2": "img_mlp.2",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
}  # fmt: skip
FLUX_SINGLE = {
    "norm.linear": "modulation.lin", "attn.to_q+attn.to_k+attn.to_v+proj_mlp": "linear1", "proj_out": "linear2",
    "attn.norm_q": "norm.query_norm", "attn.norm_k": "norm.key_norm",
}  # fmt: skip
FLUX_OUTER = {
    "x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}  # fmt: skip


def made(state: State, blocks: Mapping[str, tuple[str, Mapping[str, str]]], outer: Mapping[str, str]) -> State:
    """Rename a state. blocks: for each kind of block its original name and the names within; "a+b" are concatenated."""
    found: State = {}
    for name in state:
        if (match := re.match(r"(\w+)\.(\d+)\.(.*)", name)) and match[1] in blocks:
            kind, inner = blocks[match[1]]
            found |= _inner(state, f"{match[1]}.{match[2]}.", f"{kind}.{match[2]}.", match[3], inner)
            continue
        stem, dot, end = name.rpartition(".")
        found[f"{outer[stem]}{dot}{end}" if stem in outer else outer[name]] = state[name]
    return found


def _inner(state: State, start: str, new: str, rest: str, inner: Mapping[str, str]) -> State:
    stem, dot, end = rest.rpartition(".")
    if rest in inner:
        return {new + inner[rest]: state[start + rest]}
    for names, theirs in inner.items():
        several = names.split("+")
        if stem == several[0]:
            parts = [state[f"{start}{one}{dot}{end}"] for one in several]
            return {f"{new}{theirs}{dot}{end}": torch.cat(parts) if len(parts) > 1 else parts[0]}
        if stem in several:
            return {}
    raise KeyError(rest)


def swapped(state: State, stem: str) -> State:
    """Swap shift and scale of a modulation, which have the other order in the original."""
    for end in ("weight", "bias"):
        state[f"{stem}.{end}"] = torch.cat(list(reversed(state[f"{stem}.{end}"].chunk(2))))
    return state


def sd3(state: State) -> State:
    last = max(int(name.split(".")[1]) for name in state if name.startswith("transformer_blocks."))
    found = made(state, {"transformer_blocks": ("joint_blocks", SD3)}, SD3_OUTER)
    for stem in ("final_layer", f"joint_blocks.{last}.context_block"):
        found = swapped(found, f"{stem}.adaLN_modulation.1")
    return {f"model.diffusion_model.{name}": value for name, value in found.items()}


def sana(state: State) -> State:
    more = {"pos_embed": torch.zeros(1, 4, 8), "y_embedder.y_embedding": torch.zeros(300, 8)}
    return made(state, {"transformer_blocks": ("blocks", SANA)}, SANA_OUTER) | more


def pixart(state: State) -> State:
    more = {"pos_embed": torch.zeros(1, 4, 8), "y_embedder.y_embedding": torch.zeros(300, 8)}
    return made(state, {"transformer_blocks": ("blocks", PIXART)}, PIXART_OUTER) | more


def flux(state: State) -> State:
    kinds = {"transformer_blocks": ("double_blocks", FLUX), "single_transformer_blocks": ("single_blocks", FLUX_SINGLE)}
    found = swapped(made(state, kinds, FLUX_OUTER), "final_layer.adaLN_modulation.1")
    return {re.sub(r"(query|key)_norm\.weight", r"\1_norm.scale", name): value for name, value in found.items()}
