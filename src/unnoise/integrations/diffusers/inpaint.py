"""Inpainting networks of 9 input channels: x, the mask, and the encoded image without what is painted.

They were trained on masks of 0 and 1, so a cell is 1 where any of its pixels is painted.
Source: runwayml/stable-diffusion, inpaint_st.py, make_batch_sd, and its model card.
"""

import torch
from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.diffusion.inpainting import to_cells
from unnoise.errors import InputError
from unnoise.spaces.latent import Latent


def image_conditioner(space: Latent) -> ImageConditioner:
    """Encode mask and masked image into the extra input channels."""

    def encode(image: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            raise InputError("mask: this network needs one")
        painted = (mask > 0).to(image)
        return torch.cat([to_cells(painted, space.factor), space.encode(image * (1 - painted))], 1)

    return ImageConditioner(encode, masked=True)
