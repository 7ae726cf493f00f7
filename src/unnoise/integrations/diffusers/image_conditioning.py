"""The image input of a U-Net, by the number of its channels."""

from unnoise.components import ImageConditioner
from unnoise.errors import InputError
from unnoise.integrations.diffusers import inpaint, pix2pix
from unnoise.integrations.diffusers.components import ForeignComponents
from unnoise.spaces.latent import Latent


def image_conditioner_of(foreign: ForeignComponents, space: Latent, scaled: bool) -> ImageConditioner | None:
    """Return the image conditioner of a U-Net, None without one. Raises InputError for another number of channels.

    scaled: whether the image of an instruction model has the scale of x0, as in CosXL.
    """
    config = foreign.net("unet").config
    latents = config.out_channels
    known = {
        latents: lambda _: None,
        2 * latents: pix2pix.scaled_conditioner if scaled else pix2pix.image_conditioner,
        2 * latents + 1: inpaint.image_conditioner,
    }
    if config.in_channels not in known:
        raise InputError(
            f"{foreign.where}: unet of {config.in_channels} channels; {', '.join(map(str, known))} are supported"
        )
    return known[config.in_channels](space)
