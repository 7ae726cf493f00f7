"""Inpainting: what is kept is known, so the denoiser may as well say so."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from unnoise.diffusion.model import Denoise
from unnoise.errors import Refusal


def keep(denoise: Denoise, known: Tensor, mask: Tensor) -> Denoise:
    """Put what is known into every answer: known*mask + x0*(1 - mask), bit for bit known where mask is 1.

    known: (B, *d) in Space coordinates; mask: broadcasts to (B, *d), in [0, 1], 1 = keep, 0 = paint.
    Raises Refusal for a mask out of range or of another shape, and for a known that is not finite.
    """
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise Refusal("mask: numbers in [0, 1]; 1 keeps, 0 paints")
    if not bool(known.isfinite().all()):
        raise Refusal("known: holds NaN or infinity")
    try:
        mask = mask.to(known).expand_as(known)
    except RuntimeError as error:
        raise Refusal(f"mask {tuple(mask.shape)}: broadcasts to known, {tuple(known.shape)}") from error

    def kept(x: Tensor, sigma: Tensor) -> Tensor:
        return blend(denoise(x, sigma), known, mask)

    return kept


def blend(made: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Give known*mask + made*(1 - mask), bit for bit known where mask is 1. made, known, mask: broadcast."""
    return torch.where(mask == 1, known, torch.lerp(made, known, mask))


def cells(mask: Tensor, factor: int) -> Tensor:
    """Reduce a mask of pixels to cells of factor x factor, each kept as its least kept pixel is.

    So everything that is to be painted is, be it one pixel wide; what is kept in those cells has to be put back in
    pixels. mask: (B, 1, H, W), 1 = keep, sides multiples of factor -> (B, 1, H/factor, W/factor).
    """
    return -max_pool2d(-mask, factor)
