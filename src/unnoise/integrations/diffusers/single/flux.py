"""FLUX.1 from a single file: the transformer and the other networks in it; text networks are mostly in a folder.

Source of the names: black-forest-labs/flux, src/flux/model.py; diffusers, models/transformers/transformer_flux.py.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unnoise.adapters.lora.layouts import FLUX, Table
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.ldm import autoencoder
from unnoise.integrations.diffusers.single.names import renamed
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network, present
from unnoise.integrations.diffusers.single.texts import clip, t5

HEAD = 128  # channels of an attention head
AXES = (16, 56, 56)  # of them, those of each axis of the rotary positions
TEXTS = "text_encoders."
BLOCKS = ("double_blocks", "single_blocks")
DOUBLE, SINGLE = "transformer_blocks.{}.attn.", "single_transformer_blocks.{}.attn."
TABLE: Table = {
    **FLUX,
    "double_blocks.{}.img_attn.norm.query_norm.scale": (f"{DOUBLE}norm_q.weight",),
    "double_blocks.{}.img_attn.norm.key_norm.scale": (f"{DOUBLE}norm_k.weight",),
    "double_blocks.{}.txt_attn.norm.query_norm.scale": (f"{DOUBLE}norm_added_q.weight",),
    "double_blocks.{}.txt_attn.norm.key_norm.scale": (f"{DOUBLE}norm_added_k.weight",),
    "single_blocks.{}.norm.query_norm.scale": (f"{SINGLE}norm_q.weight",),
    "single_blocks.{}.norm.key_norm.scale": (f"{SINGLE}norm_k.weight",),
}
OUTER = tuple(name for name in FLUX if not name.startswith(BLOCKS))


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the networks of a file. Raises InputError if it has no transformer."""
    own = below(tensors, PREFIX) or tensors
    if "img_in.weight" in own:
        own = transformer(own)
    if "x_embedder.weight" not in own:
        raise missing_network(where, identity, "transformer")
    nets = {
        "transformer": Cut("FluxTransformer2DModel", _config(own), own),
        "text_encoder": clip(tensors, f"{TEXTS}clip_l.transformer."),
        "text_encoder_2": t5(tensors, f"{TEXTS}t5xxl.transformer."),
    }
    return present(nets) | autoencoder(tensors, identity)


def transformer(own: Tensors) -> dict[str, Tensor]:
    """Rename the tensors of the transformer. In the last modulation, shift and scale are swapped."""
    known = {name: value for name, value in own.items() if name.startswith((*BLOCKS, *OUTER))}
    found = renamed(known, TABLE)
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
