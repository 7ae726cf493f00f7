"""The transformer of Wan from a single file, in the original layout or that of diffusers."""

from collections.abc import Mapping
from typing import Any

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network

HEAD = 128  # channels of an attention head. Source: Wan-Video/Wan2.1, wan/configs


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the transformer. Raises InputError if the file has none for text to video."""
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    own = below(tensors, PREFIX) or dict(tensors)
    if "head.modulation" in own:
        own = convert_wan_transformer_to_diffusers(own)
    if "patch_embedding.weight" not in own:
        raise missing_network(where, identity, "transformer")
    return {"transformer": Cut("WanTransformer3DModel", _config(own, where), own)}


def _config(tensors: Tensors, where: str) -> dict[str, Any]:
    """Return the config by shapes; the width of a head, which no shape shows, is that of Wan."""
    width, channels, *patch = tensors["patch_embedding.weight"].shape
    if "blocks.0.attn2.add_k_proj.weight" in tensors:
        raise InputError(f"{where}: a transformer that needs a first image; only text to video is supported")
    return {
        "patch_size": list(patch),
        "num_attention_heads": max(1, width // HEAD),
        "attention_head_dim": min(HEAD, width),
        "in_channels": channels,
        "out_channels": tensors["proj_out.weight"].shape[0] // (patch[0] * patch[1] * patch[2]),
        "text_dim": tensors["condition_embedder.text_embedder.linear_1.weight"].shape[1],
        "freq_dim": tensors["condition_embedder.time_embedder.linear_1.weight"].shape[1],
        "ffn_dim": tensors["blocks.0.ffn.net.0.proj.weight"].shape[0],
        "num_layers": count(tensors, "blocks."),
        "cross_attn_norm": "blocks.0.norm2.weight" in tensors,
        "qk_norm": "rms_norm_across_heads" if "blocks.0.attn1.norm_q.weight" in tensors else None,
    }
