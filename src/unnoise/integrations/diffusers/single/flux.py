"""FLUX.1 from a single file: the transformer, and what else is in it; text networks are mostly in a folder.

Source of the names: black-forest-labs/flux, src/flux/model.py; diffusers, models/transformers/transformer_flux.py.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.ldm import autoencoder
from unnoise.integrations.diffusers.single.names import renamed
from unnoise.integrations.diffusers.single.split import Cut, Tensors, below, count, whole
from unnoise.integrations.diffusers.single.texts import clip, t5

PREFIX = "model.diffusion_model."
HEAD = 128  # channels of an attention head
AXES = (16, 56, 56)  # of them, those that turn with the place of a token; their sum
TEXTS = "text_encoders."
BLOCKS = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}
INNER: Mapping[str, str | tuple[str, ...]] = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.norm.query_norm.scale": "attn.norm_q.weight",
    "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
    "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight",
    "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "modulation.lin": "norm.linear",
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": "proj_out",
    "norm.query_norm.scale": "attn.norm_q.weight",
    "norm.key_norm.scale": "attn.norm_k.weight",
}
OUTER = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Cut a file into its networks. Raises InputError where it has no transformer."""
    own = below(tensors, PREFIX) or tensors
    if "img_in.weight" in own:
        own = transformer(own)
    if "x_embedder.weight" not in own:
        raise InputError(f"{where}: recognised as {identity} by {identity.known_by}, but it has no transformer")
    nets = {
        "transformer": Cut("FluxTransformer2DModel", _config(own), own),
        "text_encoder": clip(tensors, f"{TEXTS}clip_l.transformer."),
        "text_encoder_2": t5(tensors, f"{TEXTS}t5xxl.transformer."),
    }
    return whole(nets) | autoencoder(tensors, identity)


def transformer(own: Tensors) -> dict[str, Tensor]:
    """Rename the transformer. The last modulation has its halves the other way round."""
    kept = {name: value for name, value in own.items() if name.startswith((*BLOCKS, *OUTER))}
    found = renamed(kept, BLOCKS, INNER, OUTER)
    for end in ("weight", "bias"):
        shift, scale = found[f"norm_out.linear.{end}"].chunk(2)
        found[f"norm_out.linear.{end}"] = torch.cat([scale, shift])
    return found


def _config(own: Tensors) -> dict[str, Any]:
    width, channels = own["x_embedder.weight"].shape
    head = own["transformer_blocks.0.attn.norm_q.weight"].shape[0]
    return {
        "in_channels": channels,
        "num_layers": count(own, "transformer_blocks."),
        "num_single_layers": count(own, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "pooled_projection_dim": own["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in own,
        "axes_dims_rope": [axis * head // HEAD for axis in AXES],
    }
