"""The transformer of PixArt from a single file, in the original layout or that of diffusers.

Source of the names: PixArt-alpha/PixArt-sigma, diffusion/model/nets/PixArtMS.py; diffusers, pixart_transformer_2d.py.
"""

from collections.abc import Mapping
from typing import Any

from unnoise.adapters.lora.layouts import PIXART, Table
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.names import renamed
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network

HEADS = 16
FEW_CELLS, CELLS = 64, 128  # side in latents of models for 512 and for 1024 pixels
EMBEDDER = "adaln_single.emb."
SIZED = f"{EMBEDDER}resolution_embedder.linear_1.weight"
TABLE: Table = {
    **PIXART,
    "blocks.{}.scale_shift_table": ("transformer_blocks.{}.scale_shift_table",),
    "csize_embedder.mlp.0": (f"{EMBEDDER}resolution_embedder.linear_1",),
    "csize_embedder.mlp.2": (f"{EMBEDDER}resolution_embedder.linear_2",),
    "ar_embedder.mlp.0": (f"{EMBEDDER}aspect_ratio_embedder.linear_1",),
    "ar_embedder.mlp.2": (f"{EMBEDDER}aspect_ratio_embedder.linear_2",),
    "final_layer.scale_shift_table": ("scale_shift_table",),
}
UNUSED = ("y_embedder.y_embedding", "pos_embed")  # for training only, and computed here


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the transformer. Raises InputError if the file has none."""
    own = below(tensors, PREFIX) or tensors
    if "x_embedder.proj.weight" in own:
        used = {name: value for name, value in own.items() if name not in UNUSED}
        own = renamed(used, TABLE)
    if "pos_embed.proj.weight" not in own:
        raise missing_network(where, identity, "transformer")
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
