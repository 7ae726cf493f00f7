"""What a U-Net sees beside x, told by the number of its channels."""

from unnoise.errors import Refusal
from unnoise.files.foreign import inpaint, pix2pix
from unnoise.files.foreign.parts import Parts
from unnoise.given import Sight
from unnoise.spaces.latent import Latent


def sight_of(parts: Parts, space: Latent) -> Sight | None:
    """Tell by its channels what a U-Net sees beside x. Raises Refusal where that is not known."""
    config = parts.net("unet").config
    latents = config.out_channels
    known = {latents: lambda _: None, 2 * latents: pix2pix.sight, 2 * latents + 1: inpaint.sight}
    if config.in_channels not in known:
        raise Refusal(f"{parts.where}: unet of {config.in_channels} channels: {', '.join(map(str, known))} are known")
    return known[config.in_channels](space)
