"""Stable Diffusion XL from a single file: U-Net, autoencoder, CLIP and OpenCLIP; the refiner has only OpenCLIP."""

from collections.abc import Mapping

from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.ldm import autoencoder, unet
from unnoise.integrations.diffusers.single.split import Cut, Tensors, present
from unnoise.integrations.diffusers.single.texts import clip, open_clip

POOLED = 1280  # width of the pooled text for a file without text network


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the networks of a file. Raises InputError if it has no U-Net."""
    first = clip(tensors, "conditioner.embedders.0.transformer.")
    second = open_clip(tensors, f"conditioner.embedders.{'0' if identity.variant == 'refiner' else '1'}.model.")
    pooled = POOLED if second is None else second.config["projection_dim"]
    nets = {"unet": unet(tensors, identity, where, pooled), "text_encoder": first, "text_encoder_2": second}
    return present(nets) | autoencoder(tensors, identity)
