"""The transformer of LTX-Video from a single file; its text network and autoencoder are in a folder."""

from collections.abc import Mapping
from typing import Any

from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network

HEAD = 64  # channels of an attention head. Source: Lightricks/LTX-Video, transformer/config.json


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the transformer. Raises InputError if the file has none."""
    from diffusers.loaders.single_file_utils import convert_ltx_transformer_checkpoint_to_diffusers

    own = below(tensors, PREFIX) or {name: value for name, value in tensors.items() if not name.startswith("vae.")}
    if "patchify_proj.weight" in own:
        own = convert_ltx_transformer_checkpoint_to_diffusers(own)
    if "proj_in.weight" not in own:
        raise missing_network(where, identity, "transformer")
    return {"transformer": Cut("LTXVideoTransformer3DModel", _config(own), own)}


def _config(tensors: Tensors) -> dict[str, Any]:
    width, channels = tensors["proj_in.weight"].shape
    return {
        "in_channels": channels,
        "out_channels": tensors["proj_out.weight"].shape[0],
        "num_attention_heads": max(1, width // HEAD),
        "attention_head_dim": min(HEAD, width),
        "cross_attention_dim": tensors["transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "num_layers": count(tensors, "transformer_blocks."),
        "caption_channels": tensors["caption_projection.linear_1.weight"].shape[1],
    }
