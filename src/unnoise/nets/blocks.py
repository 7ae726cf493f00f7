"""Shared parts of networks: attention, residual blocks and time features, for 1, 2 or 3 dimensions."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError, check_whole

CONV: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UNIT_SCALE = 16.0  # radians of the highest frequency of a unit clock; docs/decisions/0014-unit-clock.md
MOST_POINTS = 64
GUIDANCE_TOP = 100.0  # guidance scale that is 1 on the scale of `guidance_clock`
POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def zeroed(module: nn.Module) -> nn.Module:
    """Set every parameter of a module to zero, so that its residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def fold(x: Tensor, patch: int) -> Tensor:
    """Move squares of `patch` positions a side into channels: (B, C, *d) -> (B, C * patch**rank, *d/patch)."""
    if patch == 1:
        return x
    rank = x.ndim - 2
    for axis in range(rank):
        x = x.unflatten(2 + 2 * axis, (-1, patch))
    return x.permute(0, 1, *range(3, x.ndim, 2), *range(2, x.ndim, 2)).flatten(1, 1 + rank)


def unfold(x: Tensor, patch: int) -> Tensor:
    """Move channels back to positions, the inverse of `fold`: (B, C * patch**rank, *d) -> (B, C, *d * patch)."""
    if patch == 1:
        return x
    rank = x.ndim - 2
    x = x.unflatten(1, (-1, *[patch] * rank))
    x = x.permute(0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i)))
    for axis in range(rank):
        x = x.flatten(2 + axis, 3 + axis)
    return x


def time_features(time: Tensor, width: int, scale: float = 1000.0) -> Tensor:
    """Return sines and cosines of a time at geometric wavelengths.

    time: (B,), of any range; `scale` maps a time in [0, 1] to the usual 0 ... 1000. Returns (B, width).
    Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=time.device) * (-math.log(10_000) / half))
    angles = scale * time.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def unit_features(unit: Tensor, width: int) -> Tensor:
    """Return sines and cosines of a number in [0, 1] at geometric frequencies of 1/2 to UNIT_SCALE radians.

    unit: (B,). Returns (B, width). No frequency is high, so that the derivative by time is of the order of that by x.
    """
    half = width // 2
    rates = 0.5 * (2 * UNIT_SCALE) ** (torch.arange(half, device=unit.device) / max(half - 1, 1))
    angles = unit.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


@dataclass(frozen=True, slots=True)
class NetExtras:
    """The arguments of a network that have defaults in most models.

    Args:
        rank: dimensions of the data, 1 to 3; 2 for images.
        clock: what the network gets as its time: `native` is the time of the process, times 1000; `unit` is
            sigma/(1 + sigma), 0 to 1, whose derivative is small, as few-step training needs it.
        guidance: take the guidance scale of a distilled network as an input, which starts without effect.
        end: take a second time as an input, which starts without effect: the unit clock at the end of a jump.
        points: 1 to 64 predictions of x0 along a jump, see diffusion/jump.py; more than one needs `end`.
    """

    rank: int = 2
    clock: Literal["native", "unit"] = "native"
    guidance: bool = False
    end: bool = False
    points: int = 1

    def __post_init__(self) -> None:
        check_whole("points", self.points, 1, MOST_POINTS)
        if self.points > 1 and not self.end:
            raise InputError(f"points {self.points}: of a network that takes the end of its jump; set end = true")
        if self.clock not in ("native", "unit"):
            raise InputError(f"clock {self.clock!r}: 'native' or 'unit'")

    def state(self, net: nn.Module) -> None:
        """Set the attributes of a network that say what it gets and returns."""
        net.unit_clock, net.takes_end, net.points = self.clock == "unit", self.end, self.points  # type: ignore[assignment]


PLAIN = NetExtras()


def guidance_clock(scale: Tensor) -> Tensor:
    """Map guidance scales of 0 to GUIDANCE_TOP to 0 to 1, evenly in log(1 + scale)."""
    return torch.log1p(scale.float()) / math.log1p(GUIDANCE_TOP)


class GlobalEmbedding(nn.Module):
    """Embed the conditioning of a whole sample: the sum over its time, and what else the network takes.

    time: (B,), native or of the unit clock; cond.vector: (B, vector); cond.label: (B,) below `labels`;
    cond.distilled_guidance: (B,), 0 to GUIDANCE_TOP; cond.end: (B,), 0 to 1. Returns (B, width), after a SiLU.
    """

    def __init__(
        self, features: int, width: int, vector: int | None, labels: int | None, extras: NetExtras = PLAIN
    ) -> None:
        super().__init__()
        self.features, self.unit = features, extras.clock == "unit"
        self.time = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.vector = nn.Linear(vector, width) if vector else None
        self.label = nn.Embedding(labels, width) if labels else None
        self.guidance = zeroed(nn.Linear(features, width)) if extras.guidance else None
        self.end = zeroed(nn.Linear(features, width)) if extras.end else None

    def forward(self, time: Tensor, cond: Conditioning) -> Tensor:
        emb = self.time((unit_features if self.unit else time_features)(time, self.features))
        if self.vector is not None and cond.vector is not None:
            emb = emb + self.vector(cond.vector)
        if self.label is not None and cond.label is not None:
            emb = emb + self.label(cond.label)
        if self.guidance is not None and cond.distilled_guidance is not None:
            emb = emb + self.guidance(unit_features(guidance_clock(cond.distilled_guidance), self.features))
        if self.end is not None and cond.end is not None:
            emb = emb + self.end(unit_features(cond.end, self.features))
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
