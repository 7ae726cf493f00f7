"""Averages of the weights over training, whose length is chosen afterwards.

A track averages the weights with the profile p(t) ~ t^gamma, so its length is a share of the run, `sigma_rel`. Two
tracks and their snapshots span the averages of other lengths: any one is a weighted sum of snapshots.
Source: Karras et al. 2024 (EDM2), section 3 and appendix C.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def gamma(sigma_rel: float) -> float:
    """Give the exponent of a profile from its relative width, 0 < sigma_rel < 0.28. Source: EDM2 eq. 126."""
    t = sigma_rel**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


def update(
    tracks: Sequence[dict[str, Tensor]], weights: Weights, gammas: Sequence[float], step: int, every: int
) -> None:
    """Bring each track up to date, in place, after `step` steps of which the last `every` are new.

    beta = (1 - every/step)^(gamma + 1). Source: EDM2 eq. 127 for every = 1.
    """
    now = list(weights.values())
    for track, power in zip(tracks, gammas, strict=True):
        beta = max(0.0, 1 - every / step) ** (power + 1)
        torch._foreach_lerp_(list(track.values()), now, 1 - beta)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Name a snapshot: of which track, after how many steps."""

    gamma: float
    step: int


def coefficients(snapshots: Sequence[Snapshot], sigma_rel: float, step: int) -> list[float]:
    """Give the weights of snapshots whose sum comes closest to the profile of `sigma_rel` ending at `step`.

    Source: EDM2 algorithm 3 (least squares between profiles).
    """
    wanted = Snapshot(gamma(sigma_rel), step)
    inner = np.array([[_overlap(a, b) for b in snapshots] for a in snapshots])
    aim = np.array([_overlap(a, wanted) for a in snapshots])
    found, *_ = np.linalg.lstsq(inner, aim, rcond=1e-12)
    return [float(c) for c in found]


def _overlap(a: Snapshot, b: Snapshot) -> float:
    """Integrate the product of two profiles. Source: EDM2 eq. 151."""
    early, late = (a, b) if a.step < b.step else (b, a)
    top = (a.gamma + 1) * (b.gamma + 1) * (early.step / late.step) ** late.gamma
    return float(top / ((a.gamma + b.gamma + 1) * late.step))
