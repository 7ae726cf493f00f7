"""A Gaussian mixture of any rank, with its exact denoiser at every level, and nets that predict it exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.prediction import expand, from_x0, signal, spread
from unnoise.diffusion.process import Process
from unnoise.sampling.kinds import Kind


@dataclass(frozen=True)
class Mixture:
    """Sum over k of weights[k] * N(means[k], stds[k]^2 I). means: (K, *d); stds, weights: (K,)."""

    means: Tensor
    stds: Tensor
    weights: Tensor

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return E[x0 | x]. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf]. Source: Bayes' rule."""
        flat, means = x.flatten(1), self.means.flatten(1)
        s, p = signal(sigma)[:, None], spread(sigma)[:, None]  # (B, 1)
        variance = (s * self.stds) ** 2 + p**2  # (B, K)
        off = flat[:, None] - s[..., None] * means  # (B, K, D)
        log_odds = self.weights.log() - (flat.shape[1] * variance.log() + off.square().sum(2) / variance) / 2
        centers = means + (s * self.stds**2 / variance)[..., None] * off
        return (log_odds.softmax(1)[..., None] * centers).sum(1).view_as(x)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, *self.means.shape[1:], generator=generator, dtype=self.means.dtype)
        return self.means[which] + expand(self.stds[which], noise) * noise


def mixture(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Mixture:
    """Return three components of x0: shape, neither round nor symmetric."""
    made = torch.Generator().manual_seed(sum(shape))
    means = torch.randn(3, *shape, generator=made, dtype=torch.float64).to(dtype)
    tensor = torch.tensor([[0.3, 0.7, 0.5], [0.5, 0.2, 0.3]], dtype=dtype)
    return Mixture(means, tensor[0], tensor[1])


class MixtureNet(nn.Module):
    """Predict exactly, in a native frame, a native time and a kind; a label selects the mixture of its row."""

    def __init__(self, mixtures: tuple[Mixture, ...], process: Process, kind: Kind) -> None:
        super().__init__()
        self.mixtures, self.process, self.kind = mixtures, process, kind
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        self.calls.append(tuple(x.shape))
        a, b = self.process.scales(time)
        unit, sigma = x / expand(torch.hypot(a, b), x), self.process.sigma(time)
        every = torch.stack([each.denoise(unit, sigma) for each in self.mixtures])
        x0 = every[0] if cond.label is None else every[cond.label, torch.arange(len(x))]
        return from_x0(self.kind, x0, unit, sigma)
