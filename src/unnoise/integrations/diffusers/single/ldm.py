"""U-Nets and autoencoders in the layout of latent-diffusion: configs by shapes, names by diffusers' converters.

Source: CompVis/latent-diffusion, modules/diffusionmodules/openaimodel.py and model.py; diffusers, single_file_utils.py.
"""

import re
from itertools import count as numbers
from math import gcd
from typing import Any

from unnoise.errors import InputError
from unnoise.families.facts import facts
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Tensors, below, count, missing_network

VAES = ("first_stage_model.", "vae.")
HEADS, HEAD = 8, 64  # heads of a layer in Stable Diffusion 1, channels of a head in the others
CELL = 8  # pixels of a latent cell, the unit of sizes in configs
MARKERS = ("edm_mean", "edm_std")  # of each channel of the latents, in Playground 2.5
GROUPS = 32  # of the norms, which no shape shows, if the widths allow it


def unet(tensors: Tensors, identity: Identity, where: str, pooled: int = 0) -> Cut:
    """Return the U-Net. pooled: width of the pooled text, 0 for none. Raises InputError if the file has no U-Net."""
    own = below(tensors, PREFIX)
    if "input_blocks.0.0.weight" in own:
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

        config = _unet_config(own, identity, where, pooled)
        return Cut("UNet2DConditionModel", config, convert_ldm_unet_checkpoint(dict(tensors), config))
    if "conv_in.weight" in tensors:  # diffusers' own names; the config is in the folder of components
        return Cut("UNet2DConditionModel", {}, tensors)
    raise missing_network(where, identity, "U-Net")


def _unet_config(own: Tensors, identity: Identity, where: str, pooled: int) -> dict[str, Any]:
    widths, depths, layers = _levels(own)
    known = facts(identity)
    crossed = next(value.shape[1] for name, value in own.items() if name.endswith("attn2.to_k.weight"))
    middle = count(own, "middle_block.1.transformer_blocks.")
    kinds = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    config: dict[str, Any] = {
        "sample_size": (known.size[0] if known and known.size else 512) // CELL,
        "in_channels": own["input_blocks.0.0.weight"].shape[1],
        "out_channels": own["out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
        "cross_attention_dim": crossed,
        "attention_head_dim": HEADS if identity.family == "sd1" else [max(1, width // HEAD) for width in widths],
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle],
        "use_linear_projection": own["middle_block.1.proj_in.weight"].ndim == 2,
        "norm_num_groups": gcd(GROUPS, *widths),
    }
    if "label_emb.0.0.weight" not in own:
        return config
    added = own["label_emb.0.0.weight"].shape[1]
    ids = 5 if identity.variant == "refiner" else 6
    if not pooled or (added - pooled) % ids:
        raise InputError(f"{where}: its U-Net has an added input of {added} numbers, unlike any supported model")
    config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": (added - pooled) // ids}
    return config | {"projection_class_embeddings_input_dim": added}


def _levels(own: Tensors) -> tuple[list[int], list[int], int]:
    """Return the width and the depth of attention of each level of the encoder, and the layers of one level."""
    widths: list[int] = []
    depths: list[int] = []
    layers = 0
    begins = True
    for number in numbers(1):
        wide = own.get(f"input_blocks.{number}.0.in_layers.2.weight")
        if wide is None and f"input_blocks.{number}.0.op.weight" not in own:
            return widths, depths, layers
        if wide is None:
            begins = True
            continue
        if begins:
            widths.append(wide.shape[0])
            depths.append(count(own, f"input_blocks.{number}.1.transformer_blocks."))
        layers = layers + 1 if len(widths) == 1 else layers
        begins = False
    raise AssertionError


def autoencoder(tensors: Tensors, identity: Identity) -> dict[str, Cut]:
    """Return the autoencoder as "vae"; empty if the file has none."""
    prefix = next((start for start in VAES if any(name.startswith(start) for name in tensors)), None)
    if prefix is None:
        return {}
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    own = below(tensors, prefix)
    config = vae_config(own, identity)
    if all(name in tensors for name in MARKERS):
        mean, std = (tensors[name].flatten().tolist() for name in MARKERS)
        config |= {"latents_mean": mean, "latents_std": std}
    return {"vae": Cut("AutoencoderKL", config, convert_ldm_vae_checkpoint(dict(tensors), config))}


def vae_config(own: Tensors, identity: Identity) -> dict[str, Any]:
    """Return the config of an autoencoder by its shapes, with scale and shift of the family."""
    known = facts(identity)
    levels = sorted({int(found[1]) for name in own if (found := re.match(r"encoder\.down\.(\d+)\.", name))})
    widths = [own[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in levels]
    return {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": count(own, "encoder.down.0.block."),
        "latent_channels": own["decoder.conv_in.weight"].shape[1],
        "scaling_factor": known.scale if known and known.scale else 1.0,
        "shift_factor": known.shift if known and known.shift else None,
        "use_quant_conv": "quant_conv.weight" in own,
        "use_post_quant_conv": "post_quant_conv.weight" in own,
        "norm_num_groups": gcd(GROUPS, *widths),
    }
