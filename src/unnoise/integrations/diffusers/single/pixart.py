"""The transformer of PixArt from a single file, in the layout of its makers or of diffusers.

Source of the names: PixArt-alpha/PixArt-sigma, diffusion/model/nets/PixArtMS.py; diffusers, pixart_transformer_2d.py.
"""

from collections.abc import Mapping
from typing import Any

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.names import renamed
from unnoise.integrations.diffusers.single.split import Cut, Tensors, below, count

HEADS = 16
FEW_CELLS, CELLS = 64, 128  # side in latents of models for 512 and for 1024 pixels
EMBEDDER = "adaln_single.emb."
SIZED = f"{EMBEDDER}resolution_embedder.linear_1.weight"
INNER: Mapping[str, str | tuple[str, ...]] = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.proj": "attn1.to_out.0",
    "cross_attn.q_linear": "attn2.to_q",
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": "attn2.to_out.0",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
}
OUTER = {
    "x_embedder.proj": "pos_embed.proj",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "t_embedder.mlp.0": f"{EMBEDDER}timestep_embedder.linear_1",
    "t_embedder.mlp.2": f"{EMBEDDER}timestep_embedder.linear_2",
    "csize_embedder.mlp.0": f"{EMBEDDER}resolution_embedder.linear_1",
    "csize_embedder.mlp.2": f"{EMBEDDER}resolution_embedder.linear_2",
    "ar_embedder.mlp.0": f"{EMBEDDER}aspect_ratio_embedder.linear_1",
    "ar_embedder.mlp.2": f"{EMBEDDER}aspect_ratio_embedder.linear_2",
    "t_block.1": "adaln_single.linear",
    "final_layer.linear": "proj_out",
    "final_layer.scale_shift_table": "scale_shift_table",
}
NEEDLESS = ("y_embedder.y_embedding", "pos_embed")  # of training, and made anew


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Take the transformer. Raises InputError where the file has none."""
    own = below(tensors, "model.diffusion_model.") or tensors
    if "x_embedder.proj.weight" in own:
        kept = {name: value for name, value in own.items() if name not in NEEDLESS}
        own = renamed(kept, {"blocks": "transformer_blocks"}, INNER, OUTER)
    if "pos_embed.proj.weight" not in own:
        raise InputError(f"{where}: recognised as {identity} by {identity.known_by}, but it has no transformer")
    return {"transformer": Cut("PixArtTransformer2DModel", _config(own, identity), own)}


def _config(own: Tensors, identity: Identity) -> dict[str, Any]:
    width, channels, patch = own["pos_embed.proj.weight"].shape[:3]
    small = identity.variant == "alpha" and SIZED not in own
    return {
        "sample_size": FEW_CELLS if small else CELLS,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": own["proj_out.weight"].shape[0] // patch**2,
        "num_layers": count(own, "transformer_blocks."),
        "num_attention_heads": HEADS if width % HEADS == 0 else 1,
        "attention_head_dim": width // (HEADS if width % HEADS == 0 else 1),
        "cross_attention_dim": own["transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "caption_channels": own["caption_projection.linear_1.weight"].shape[1],
        "use_additional_conditions": SIZED in own,
    }
