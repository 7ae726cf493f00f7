"""What a U-Net sees beside x, told by the number of its channels."""

from unnoise.components import ImageConditioner
from unnoise.errors import InputError
from unnoise.integrations.diffusers import inpaint, pix2pix
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.spaces.latent import Latent


def image_conditioner_of(parts: ForeignComponents, space: Latent) -> ImageConditioner | None:
    """Tell by its channels what a U-Net sees beside x. Raises InputError where that is not known."""
    config = parts.net("unet").config
    latents = config.out_channels
    known = {
        latents: lambda _: None,
        2 * latents: pix2pix.image_conditioner,
        2 * latents + 1: inpaint.image_conditioner,
    }
    if config.in_channels not in known:
        raise InputError(
            f"{parts.where}: unet of {config.in_channels} channels: {', '.join(map(str, known))} are known"
        )
    return known[config.in_channels](space)
