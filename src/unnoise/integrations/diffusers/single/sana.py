"""The transformer of Sana from a single file, in the original layout or that of diffusers."""

from collections.abc import Mapping
from typing import Any

from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network

HEAD = 32  # channels of a head of self-attention
CROSS = {2240: (20, 112), 1152: (16, 72)}  # heads of cross-attention and their channels, by the width of the model
# Source: Efficient-Large-Model/Sana_1600M_1024px_diffusers and Sana_600M_512px_diffusers, transformer/config.json


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the transformer. Raises InputError if the file has none."""
    own = below(tensors, PREFIX) or dict(tensors)
    if "x_embedder.proj.weight" in own:
        from diffusers.loaders.single_file_utils import convert_sana_transformer_to_diffusers

        own = convert_sana_transformer_to_diffusers({"pos_embed": None, "y_embedder.y_embedding": None, **own})
    if "patch_embed.proj.weight" not in own:
        raise missing_network(where, identity, "transformer")
    return {"transformer": Cut("SanaTransformer2DModel", _config(own), own)}


def _config(own: Tensors) -> dict[str, Any]:
    width, channels, patch = own["patch_embed.proj.weight"].shape[:3]
    heads, head = CROSS.get(width, (1, width))
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": own["proj_out.weight"].shape[0] // patch**2,
        "num_layers": count(own, "transformer_blocks."),
        "num_attention_heads": max(1, width // HEAD),
        "attention_head_dim": min(HEAD, width),
        "num_cross_attention_heads": heads,
        "cross_attention_head_dim": head,
        "cross_attention_dim": width,
        "caption_channels": own["caption_projection.linear_1.weight"].shape[1],
        "mlp_ratio": own["transformer_blocks.0.ff.conv_inverted.weight"].shape[0] / 2 / width,
    }
