"""Spherical interpolation (slerp) of noise, which preserves unit variance.

Source: Shoemake 1985, "Animating rotation with quaternion curves"; White 2016, "Sampling generative networks".
"""

import torch
from torch import Tensor

from unnoise.errors import InputError

PARALLEL = 1e-4  # sine of the angle below which two rows count as parallel


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Interpolate from `first` to `second`, row by row, by a share of the angle between them:

        length * (sin((1 - share)*angle)*u + sin(share*angle)*v)/sin(angle), u and v of length 1

    The length is interpolated linearly. Parallel and opposite rows are interpolated linearly.

    Args:
        first, second: (B, *d).
        share: in [0, 1]; 0 and 1 return the ends bit for bit.

    Raises InputError for another share and for unequal shapes.
    """
    if not 0 <= share <= 1:
        raise InputError(f"share {share!r}: a number from 0 to 1")
    if first.shape != second.shape:
        raise InputError(f"noises {list(first.shape)} and {list(second.shape)}: must have one shape")
    if share in (0, 1):
        return first if share == 0 else second
    one, other = first.flatten(1).cpu().double(), second.flatten(1).cpu().double()
    lengths = one.norm(dim=1, keepdim=True), other.norm(dim=1, keepdim=True)
    u, v = one / lengths[0].clamp(min=1e-300), other / lengths[1].clamp(min=1e-300)
    angle = torch.acos((u * v).sum(1, keepdim=True).clamp(-1, 1))
    sine = angle.sin()
    straight = sine < PARALLEL
    safe = torch.where(straight, torch.ones_like(sine), sine)
    turned = (((1 - share) * angle).sin() * u + (share * angle).sin() * v) / safe
    turned = turned * torch.lerp(*lengths, share)
    return (
        torch.where(straight, torch.lerp(one, other, share), turned)
        .to(first.dtype)
        .to(first.device)
        .reshape(first.shape)
    )
