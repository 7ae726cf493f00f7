"""Shared parts of networks: attention, residual blocks and time features, for 1, 2 or 3 dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning

CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def zeroed(module: nn.Module) -> nn.Module:
    """Set every parameter of a module to zero, so that its residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def time_features(time: Tensor, width: int, scale: float = 1000.0) -> Tensor:
    """Return sines and cosines of a time at geometric wavelengths.

    time: (B,), of any range; `scale` maps a time in [0, 1] to the usual 0 ... 1000. Returns (B, width).
    Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(10_000) / half))
    angles = scale * time.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class GlobalEmbedding(nn.Module):
    """Embed the conditioning of a whole sample: the sum over its time, an optional pooled vector and an optional label.

    time: (B,); cond.vector: (B, vector); cond.label: (B,) below `labels`. Returns (B, width), after a SiLU.
    """

    def __init__(self, features: int, width: int, vector: int | None, labels: int | None) -> None:
        super().__init__()
        self.features = features
        self.time = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.vector = nn.Linear(vector, width) if vector else None
        self.label = nn.Embedding(labels, width) if labels else None

    def forward(self, time: Tensor, cond: Conditioning) -> Tensor:
        emb = self.time(time_features(time, self.features))
        if self.vector is not None and cond.vector is not None:
            emb = emb + self.vector(cond.vector)
        if self.label is not None and cond.label is not None:
            emb = emb + self.label(cond.label)
        return F.silu(emb)


class RMSNorm(nn.RMSNorm):
    """RMS norm over the last axis in the dtype of x, also where autocast has changed it."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Attention from each position to all of `context`, or self-attention where there is none.

    x: (B, N, width); context: (B, L, context_width); mask: (B, L), True = may be attended to. Queries and keys are
    normalised per head, which bounds the logits in low precision (Dehghani et al. 2023, section 2).
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(context_width or width, 2 * width, bias=False)
        self.norm_q = RMSNorm(width // heads)
        self.norm_k = RMSNorm(width // heads)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        q = self.norm_q(self.split(self.to_q(x)))
        k, v = (self.split(part) for part in self.to_kv(x if context is None else context).chunk(2, dim=2))
        allowed = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, self.norm_k(k).to(q.dtype), v.to(q.dtype), attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(2))


class ResBlock(nn.Module):
    """Two convolutions around a residual; an embedding scales and shifts the features between them.

    x: (B, channels, *d); emb: (B, emb_width) or None where the block has no embedding. Returns (B, width, *d).
    Source: Dhariwal & Nichol 2021, section 3 (adaptive group normalisation).
    """

    def __init__(self, rank: int, channels: int, width: int, emb_width: int | None = None, groups: int = 32) -> None:
        super().__init__()
        conv = CONV[rank]
        self.norm1 = nn.GroupNorm(math.gcd(groups, channels), channels)
        self.conv1 = conv(channels, width, 3, padding=1)
        self.film = nn.Linear(emb_width, 2 * width) if emb_width else None
        self.norm2 = nn.GroupNorm(math.gcd(groups, width), width)
        self.conv2 = zeroed(conv(width, width, 3, padding=1))
        self.skip = conv(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None and emb is not None:
            scale, shift = self.film(emb).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))
