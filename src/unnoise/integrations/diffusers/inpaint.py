"""Networks that are shown what to keep: 9 channels, of x, of a mask and of the picture without what is to be painted.

The mask is 1 where they paint. They were trained on masks of 0 and 1, so a cell that holds anything to be painted is 1.
Source: runwayml/stable-diffusion, inpaint_st.py, make_batch_sd, and its model card.
"""

import torch
from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.diffusion.inpainting import cells
from unnoise.errors import InputError
from unnoise.spaces.latent import Latent


def image_conditioner(space: Latent) -> ImageConditioner:
    """Show mask and masked picture on the cells of a space."""

    def encode(picture: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            raise InputError("mask: this network is shown one")
        kept = (mask == 1).to(picture)
        return torch.cat([1 - cells(kept, space.factor), space.encode(picture * kept)], 1)

    return ImageConditioner(encode, masked=True)
