"""Networks that follow an instruction: 8 channels, of x and of the latents of the picture that is to be changed.

Those latents are as the autoencoder gives them, without the scale that x has; in CosXL they have it.
Source: Brooks et al. 2023 (InstructPix2Pix), section 3.2; timothybrooks/instruct-pix2pix, edit_cli.py and
configs/generate.yaml (guidance 7.5, towards the picture 1.5); diffusers,
pipeline_stable_diffusion_xl_instruct_pix2pix.py, is_cosxl_edit.
"""

from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.spaces.latent import Latent

IMAGE_GUIDANCE = 1.5


def image_conditioner(space: Latent) -> ImageConditioner:
    """Show a picture on the cells of a space."""

    def encode(picture: Tensor, _: Tensor | None) -> Tensor:
        return space.affine.to_code(space.encode(picture))

    return ImageConditioner(encode, masked=False)


def scaled_conditioner(space: Latent) -> ImageConditioner:
    """The same with the scale of x0, as CosXL was trained."""
    return ImageConditioner(lambda picture, _: space.encode(picture), masked=False)
