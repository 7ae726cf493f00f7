"""A jump from one level to another along a policy: x0 that is linear between n points, evenly spaced in place.

    y = x/(signal + spread)      place = sigma/(1 + sigma)      dy/d(place) = flow = (y - x0)/place

With x0 a known function of place this is an integral,  d(y/place) = -x0·d(place)/place^2,  so that the whole jump is

    y' = (place'/place)·y + (1 - place'/place)·sum_i w_i·x0_i      sum_i w_i = 1

which is DDIM's step with the x0 `sum_i w_i·x0_i`. w_i is the mean of the hat function of point i over the jump, by the
measure d(place)/place^2. At place' = 0 that measure is all at the end, so only the last point counts. As x0 of every
kind is affine in the output at a fixed x, the same sum of outputs is the one prediction of the jump, in its kind: every
sampler takes a network of n points as it takes any other, and n equal points are a network without them.

Source: Chen et al. 2025 (pi-Flow, arXiv 2510.14974), section 3.3 (the DX policy); the closed form is derived here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unnoise.diffusion.prediction import expand

LOWEST = 1e-12  # place that stands for 0
SERIES = 0.1  # below this ratio the closed form cancels, and its series is summed
TERMS = 16


def place(sigma: Tensor) -> Tensor:
    """Return the unit clock of levels: sigma/(1 + sigma), 0 to 1, also at inf. sigma: any shape."""
    return (1 + sigma.reciprocal()).reciprocal()


def next_level(grid: Sequence[float], sigma: Tensor) -> Tensor:
    """Return the highest level of a grid below each of sigma, which is where its jump ends; 0 where there is none."""
    levels = torch.tensor([0.0, *sorted(grid)], dtype=sigma.dtype, device=sigma.device)
    return levels[(torch.searchsorted(levels, sigma.contiguous()) - 1).clamp(min=0)]


def point_weights(count: int, here: Tensor, there: Tensor, part: Tensor | None = None) -> Tensor:
    """Return the weights of the points of a jump in its x0: (B, count), each row with the sum 1.

    Args:
        count: of points, the first at the start of the jump, the last at its end; a single one is constant.
        here, there: places of the start and the end of the jump, (B,). It may rise.
        part: how much of the jump is taken, (B,) of 0 to 1; None is all of it.
    """
    here, there = (_exact(one).clamp(min=LOWEST) for one in (here, there))
    if count == 1:
        return torch.ones_like(here)[:, None]
    share = torch.ones_like(here) if part is None else _exact(part).clamp(LOWEST, 1)
    edges = torch.linspace(0, 1, count, dtype=here.dtype, device=here.device)
    starts = edges[:-1].expand(len(here), -1)
    stops = torch.minimum(edges[1:], share[:, None]).maximum(starts)
    here, span = here[:, None], (there - here)[:, None]
    first, last = here + span * starts, here + span * stops
    inner = (stops - starts) * (count - 1)  # the part of each interval that is taken
    scale = (stops - starts) / share[:, None] * here * (here + span * share[:, None]) / last.square()
    at_last, at_first = (scale * mean for mean in _hat_means(first / last - 1))
    weights = here.new_zeros(len(here), count)
    weights[:, :-1] += at_first + at_last * (1 - inner)
    weights[:, 1:] += at_last * inner
    return weights


def _exact(values: Tensor) -> Tensor:
    """Return numbers in float64, or in float32 on a device without it."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def _hat_means(ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Return (r - log(1 + r))/r^2 and (log(1 + r) - r/(1 + r))/r^2, which are 1/2 at r = 0. ratio: r above -1."""
    small = ratio.abs() < SERIES
    r = torch.where(small, 1.0, ratio)
    far = (r - torch.log1p(r)) / r.square(), (torch.log1p(r) - r / (1 + r)) / r.square()
    near = [torch.zeros_like(ratio), torch.zeros_like(ratio)]
    for k in range(TERMS, 1, -1):
        near = [near[0] * -ratio + 1 / k, near[1] * -ratio + (k - 1) / k]
    return torch.where(small, near[0], far[0]), torch.where(small, near[1], far[1])


@dataclass(frozen=True, slots=True, eq=False)
class Jump:
    """The policy of one network call.

    Args:
        x: (B, *d), in the unit frame, at the start.
        here, there: places of the start and of the end, (B,).
        points: (B, n, *d), x0 at the n points from the start to the end.
    """

    x: Tensor
    here: Tensor
    there: Tensor
    points: Tensor

    def place(self, part: Tensor) -> Tensor:
        """Return the place at a part of the jump. part: (B,) of 0 to 1."""
        return torch.lerp(_exact(self.here), _exact(self.there), _exact(part))

    def sigma(self, part: Tensor) -> Tensor:
        """Return the level at a part of the jump: (B,)."""
        there = self.place(part)
        return (there / (1 - there)).to(torch.promote_types(self.x.dtype, torch.float32))

    def x0(self, part: Tensor) -> Tensor:
        """Return x0 of the policy at a part of the jump: (B, *d). part: (B,) of 0 to 1."""
        count = self.points.shape[1]
        nodes = torch.arange(count, device=part.device)
        return combine(self.points, (1 - (_exact(part)[:, None] * (count - 1) - nodes).abs()).clamp(min=0))

    def mean_x0(self, part: Tensor) -> Tensor:
        """Return the x0 with which one DDIM step takes a part of the jump exactly: (B, *d)."""
        return combine(self.points, point_weights(self.points.shape[1], self.here, self.there, part))

    def at(self, part: Tensor) -> Tensor:
        """Return x on the policy's path, in the unit frame, at a part of the jump: (B, *d). part: (B,) of 0 to 1."""
        here, there = _exact(self.here), self.place(part)
        left, wide = there / here.clamp(min=LOWEST), torch.hypot(1 - there, there).reciprocal()
        kept = left * wide * torch.hypot(1 - here, here)
        return expand(kept, self.x) * self.x + expand((1 - left) * wide, self.x) * self.mean_x0(part)


def combine(points: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of points: (B, n, *d), (B, n) -> (B, *d), in float32 at least, also under autocast."""
    if points.shape[1] == 1:
        return points[:, 0]
    weights = weights.to(torch.promote_types(points.dtype, torch.float32))
    return (points * weights.reshape(*weights.shape, *(1,) * (points.ndim - 2))).sum(1)
