"""Stable Diffusion 1 and 2 from a single file: U-Net, autoencoder, and one CLIP, in 2 that of OpenCLIP."""

from collections.abc import Mapping

from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.single.ldm import autoencoder, unet
from unnoise.integrations.diffusers.single.split import Cut, Tensors, present
from unnoise.integrations.diffusers.single.texts import clip, open_clip

UNUSED = 1  # last layers of OpenCLIP that Stable Diffusion 2 does not use


def split(tensors: Tensors, identity: Identity, where: str) -> Mapping[str, Cut]:
    """Return the networks of a file. Raises InputError if it has no U-Net."""
    text = clip(tensors, "cond_stage_model.transformer.") or open_clip(tensors, "cond_stage_model.model.", UNUSED)
    if text is not None and text.class_ == "CLIPTextModelWithProjection":
        text = Cut("CLIPTextModel", text.config, {k: v for k, v in text.tensors.items() if k.startswith("text_model.")})
    return present({"unet": unet(tensors, identity, where), "text_encoder": text}) | autoencoder(tensors, identity)
