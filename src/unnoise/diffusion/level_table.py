"""Interpolation in the table of levels of a discrete variance-preserving process."""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from unnoise.sampling.noise_schedules import levels_of


class LevelTable:
    """The levels of a table, one a step, interpolated between the steps.

    log sigma is linear in time between two steps; between the last finite level and inf, 1/sigma is linear.
    Source: crowsonkb/k-diffusion, external.py, DiscreteSchedule, for log sigma; 1/sigma extends it to inf.
    """

    def __init__(self, alphas_cumprod: Sequence[float]) -> None:
        sigmas = levels_of(alphas_cumprod)
        self.sigma_min, self.sigma_max, self.last = sigmas[0], sigmas[-1], len(sigmas) - 1
        self._logs = torch.tensor([log(sigma) for sigma in sigmas], dtype=torch.float64)
        self._placed: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def sigma(self, time: Tensor) -> Tensor:
        """Return the level at a time. time: any shape, clamped to [0, last]."""
        logs, time = self._like(time), time.clamp(0, self.last)
        low = time.floor().clamp(max=self.last - 1).long()
        part, below, above = time - low, logs[low], logs[low + 1]
        inside = torch.exp(torch.lerp(below, above.nan_to_num(), part))
        return torch.where(above.isinf(), torch.exp(below) / (1 - part), inside)

    def time(self, sigma: Tensor) -> Tensor:
        """Return the time of a level. sigma: any shape, clamped to [sigma_min, sigma_max]."""
        logs = self._like(sigma)
        here = torch.log(sigma).clamp(logs[0], logs[-1])
        low = (torch.searchsorted(logs, here, right=True) - 1).clamp(0, self.last - 1)
        below, above = logs[low], logs[low + 1]
        part = torch.where(above.isinf(), -torch.expm1(below - here), (here - below) / (above - below))
        return low + part

    def _like(self, other: Tensor) -> Tensor:
        place = other.device, other.dtype
        if place not in self._placed:
            self._placed[place] = self._logs.to(other.dtype).to(other.device)
        return self._placed[place]
