"""Stable Diffusion 3 and 3.5 from a single file: transformer, autoencoder, and text networks where it has them."""

from collections.abc import Mapping
from typing import Any

from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.ldm import autoencoder
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network, present
from unnoise.integrations.diffusers.single.texts import clip, t5

HEAD = 64  # channels of an attention head
TEXTS = "text_encoders."
SAMPLE = 128  # side in latents. Source: stabilityai/stable-diffusion-3-medium-diffusers, transformer/config.json


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the networks of a file. Raises InputError if it has no transformer."""
    own = below(tensors, PREFIX) or dict(tensors)
    if "x_embedder.proj.weight" in own:
        from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers

        own = convert_sd3_transformer_checkpoint_to_diffusers(own)
    if "pos_embed.proj.weight" not in own:
        raise missing_network(where, identity, "transformer")
    nets = {
        "transformer": Cut("SD3Transformer2DModel", _config(own), own),
        "text_encoder": clip(tensors, f"{TEXTS}clip_l.transformer."),
        "text_encoder_2": clip(tensors, f"{TEXTS}clip_g.transformer."),
        "text_encoder_3": t5(tensors, f"{TEXTS}t5xxl.transformer."),
    }
    return present(nets) | autoencoder(tensors, identity)


def _config(own: Tensors) -> dict[str, Any]:
    width, channels, patch = own["pos_embed.proj.weight"].shape[:3]
    layers = count(own, "transformer_blocks.")
    dual = [k for k in range(layers) if f"transformer_blocks.{k}.attn2.to_q.weight" in own]
    head = own.get("transformer_blocks.0.attn.norm_q.weight")
    wide = HEAD if head is None else head.shape[0]
    return {
        "sample_size": SAMPLE,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": own["proj_out.weight"].shape[0] // patch**2,
        "num_layers": layers,
        "attention_head_dim": min(wide, width),
        "num_attention_heads": max(1, width // wide),
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "caption_projection_dim": own["context_embedder.weight"].shape[0],
        "pooled_projection_dim": own["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "pos_embed_max_size": round(own["pos_embed.pos_embed"].shape[1] ** 0.5),
        "dual_attention_layers": dual,
        "qk_norm": None if head is None else "rms_norm",
    }
