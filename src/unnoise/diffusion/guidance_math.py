"""What guidance does to answers once it has them: functions of tensors, each sample on its own, any rank.

Answers are x0: (B, *d) in Space coordinates; weight, share, limit and quantile are (B, 1, ..., 1).
"""

import torch
from torch import Tensor

from unnoise.diffusion.prediction import expand


def push(weight: Tensor, plain: Tensor, base: Tensor) -> Tensor:
    """Go from base through plain: base + weight*(plain - base)."""
    return base + weight * (plain - base)


def rescale(pushed: Tensor, plain: Tensor, share: Tensor) -> Tensor:
    """Move the deviation of pushed to that of plain, by a share in [0, 1] of the way.

    Source: Lin et al. 2023, section 3.4.
    """
    wanted, found = (expand(each.flatten(1).std(1, correction=0), each) for each in (plain, pushed))
    return torch.lerp(pushed, pushed * torch.where(found > 0, wanted / found, 1.0), share)


def bound(change: Tensor, limit: Tensor) -> Tensor:
    """Shorten change to an L2 norm of at most limit, in [0, inf]."""
    length = expand(change.flatten(1).norm(dim=1), change)
    return torch.where(length > limit, change * (limit / length), change)


def along(change: Tensor, axis: Tensor) -> Tensor:
    """Give the part of change that is parallel to axis, which is 0 where axis is."""
    shared, square = (expand((each * axis).flatten(1).sum(1), axis) for each in (change, axis))
    return torch.where(square > 0, shared / square, 0.0) * axis


def clip(x0: Tensor, limit: Tensor, quantile: Tensor) -> Tensor:
    """Cut x0 off at s, the larger of limit and the quantile of |x0|, and scale it by limit/s.

    Source: Saharia et al. 2022 (Imagen), section 2.3, dynamic thresholding, with limit 1.
    """
    ordered = x0.abs().flatten(1).sort(1).values
    place = quantile.flatten(1).double() * (ordered.shape[1] - 1)
    low, high = (ordered.gather(1, end.long()) for end in (place.floor(), place.ceil()))
    top = torch.lerp(low, high, place.frac().to(low)).view_as(limit)
    edge = torch.maximum(top, limit)
    return x0.clamp(-edge, edge) * torch.where(top > limit, limit / edge, 1.0)
