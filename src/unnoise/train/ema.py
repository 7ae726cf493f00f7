"""EMA of the weights over training, with a length that can be chosen afterwards.

An average has the profile p(t) ~ t^gamma, so that its length is a share of the run, `sigma_rel`. The average of any
other length is a weighted sum of snapshots of two averages.
Source: Karras et al. 2024 (EDM2), section 3 and appendix C.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def gamma(sigma_rel: float) -> float:
    """Return the exponent of a profile of relative width 0 < sigma_rel < 0.28.

    Source: EDM2 eq. 126, solved by the polynomial of algorithm 2.
    """
    t = sigma_rel**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


def update(
    averages: Sequence[dict[str, Tensor]], weights: Weights, gammas: Sequence[float], step: int, every: int
) -> None:
    """Update each average in place after `step` steps, every `every` steps.

    beta = (1 - every/step)^(gamma + 1)

    Source: EDM2 eq. 127 for every = 1.
    """
    now = list(weights.values())
    for average, power in zip(averages, gammas, strict=True):
        beta = max(0.0, 1 - every / step) ** (power + 1)
        torch._foreach_lerp_(list(average.values()), now, 1 - beta)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot: the exponent of its average, and the number of steps."""

    gamma: float
    step: int


def coefficients(snapshots: Sequence[Snapshot], sigma_rel: float, step: int) -> list[float]:
    """Return the weights of snapshots whose sum is closest to the profile of `sigma_rel` that ends at `step`.

    Source: EDM2 algorithm 3 (least squares between profiles).
    """
    target = Snapshot(gamma(sigma_rel), step)
    inner = np.array([[_overlap(a, b) for b in snapshots] for a in snapshots])
    right = np.array([_overlap(a, target) for a in snapshots])
    found, *_ = np.linalg.lstsq(inner, right, rcond=1e-12)
    return [float(c) for c in found]


def _overlap(a: Snapshot, b: Snapshot) -> float:
    """Integrate the product of two profiles. Source: EDM2 eq. 151."""
    early, late = (a, b) if a.step < b.step else (b, a)
    top = (a.gamma + 1) * (b.gamma + 1) * (early.step / late.step) ** late.gamma
    return float(top / ((a.gamma + b.gamma + 1) * late.step))
