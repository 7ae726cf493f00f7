"""A diffusion transformer for data of one, two or three dimensions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.nets.blocks import Attention, GlobalEmbedding, NetExtras, RMSNorm, zeroed
from unnoise.nets.checks import check_least, check_multiple

HEAD = 64  # features of one attention head


def rotary(shape: tuple[int, ...], width: int, device: torch.device) -> Tensor:
    """Return the angles of rotary positions on a grid: (N, width / 2), each axis with an equal share of the pairs.

    Source: Su et al. 2021, eq. 15; Lu et al. 2024 for several axes. Pairs without an axis are not rotated.
    """
    pairs = width // 2 // len(shape)
    rates = 10_000.0 ** (-torch.arange(pairs, device=device) / max(pairs, 1))
    axes = torch.meshgrid(*(torch.arange(n, device=device).float() for n in shape), indexing="ij")
    angles = torch.cat([axis.reshape(-1, 1) * rates for axis in axes], dim=1)
    return F.pad(angles, (0, width // 2 - angles.shape[1]))


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate pairs of features by angles. x: (B, heads, N, width); angles: (N, width / 2)."""
    left, right = x.float().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1).to(x.dtype)


class SelfAttention(Attention):
    """Attention among positions, with queries and keys rotated by their positions."""

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:  # type: ignore[override]
        q = turn(self.norm_q(self.split(self.to_q(x))), angles)
        k, v = (self.split(part) for part in self.to_kv(x).chunk(2, dim=2))
        mixed = F.scaled_dot_product_attention(q.to(v.dtype), turn(self.norm_k(k), angles).to(v.dtype), v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Self-attention, cross-attention and a gated feed-forward net; an embedding modulates the first and the last.

    x: (B, N, width); emb: (B, width); Source: Peebles & Xie 2023, section 3.2 (adaLN-Zero); Shazeer 2020 (SwiGLU).
    """

    def __init__(self, width: int, heads: int, context: int | None) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.mix = SelfAttention(width, heads)
        self.norm_cross = RMSNorm(width) if context else None
        self.cross = Attention(width, heads, context) if context else None
        self.norm2 = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        inner = 8 * width // 3 // 8 * 8
        self.gate = nn.Linear(width, 2 * inner)
        self.back = nn.Linear(inner, width)
        self.modulate = zeroed(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, emb: Tensor, angles: Tensor, cond: Conditioning) -> Tensor:
        scale1, shift1, gain1, scale2, shift2, gain2 = self.modulate(emb)[:, None].chunk(6, dim=2)
        x = x + gain1 * self.mix(self.norm1(x) * (1 + scale1) + shift1, angles)
        if self.cross is not None and self.norm_cross is not None and cond.tokens is not None:
            x = x + self.cross(self.norm_cross(x), cond.tokens, cond.mask)
        gate, value = self.gate(self.norm2(x) * (1 + scale2) + shift2).chunk(2, dim=2)
        return x + gain2 * self.back(F.silu(gate) * value)


class DiT(nn.Module):
    """Predict in the kind of the denoiser from noisy data and its time, as a sequence of patches.

    x: (B, channels, *d), every size a multiple of `patch`; time: (B,); cond: tokens (B, L, context), mask (B, L),
    vector (B, vector) or label (B,) below `labels`. Returns (B, channels, *d), or (B, points * channels, *d). `extras`
    are the fields of NetExtras.

    Args:
        channels: of x: those of the latents, or 3 for pixels.
        width: features of a patch, a multiple of 64.
        depth: layers, at least 1.
        patch: side of a patch, at least 1; the sides of x are multiples of it.
        context: features of a token for cross-attention: `denoiser.text.width`; none reads no tokens.
        vector: features of the pooled prompt: `denoiser.text.width`; none reads none.
        labels: number of labels; none reads none.

    Source: Peebles & Xie 2023; RMS norms of queries and keys: Dehghani et al. 2023.
    """

    extras = NetExtras

    def __init__(
        self,
        channels: int,
        width: int,
        depth: int,
        patch: int = 2,
        context: int | None = None,
        vector: int | None = None,
        labels: int | None = None,
        **extras: Any,
    ) -> None:
        super().__init__()
        more = self.extras(**extras)
        rank = more.rank
        more.state(self)
        check_multiple("width", width, HEAD, "the features of an attention head")
        check_least(1, channels=channels, depth=depth, patch=patch)
        self.factor = self.patch = patch
        self.rank = rank
        cell = channels * patch**rank
        self.enter = nn.Linear(cell, width)
        self.embed = GlobalEmbedding(width, width, vector, labels, more)
        self.layers = nn.ModuleList(Layer(width, width // HEAD, context) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulate = zeroed(nn.Linear(width, 2 * width))
        self.leave = zeroed(nn.Linear(width, cell * more.points))

    def patches(self, x: Tensor) -> Tensor:
        """Cut data into patches: (B, C, *d) -> (B, N, C * patch**rank)."""
        for axis in range(self.rank):
            x = x.unflatten(2 + 2 * axis, (-1, self.patch))
        places, inside = range(2, x.ndim, 2), range(3, x.ndim, 2)
        return x.permute(0, *places, 1, *inside).flatten(1 + self.rank).flatten(1, self.rank)

    def whole(self, patches: Tensor, sides: torch.Size) -> Tensor:
        """Join patches: the inverse of `patches` for data of these sides."""
        grid = [n // self.patch for n in sides]
        x = patches.reshape(len(patches), *grid, -1, *[self.patch] * self.rank)
        pairs = [axis for i in range(self.rank) for axis in (1 + i, 2 + self.rank + i)]
        return x.permute(0, 1 + self.rank, *pairs).reshape(len(patches), -1, *sides)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        emb = self.embed(time, cond)
        angles = rotary(tuple(n // self.patch for n in x.shape[2:]), HEAD, x.device)
        h = self.enter(self.patches(x))
        for layer in self.layers:
            h = layer(h, emb, angles, cond)
        scale, shift = self.modulate(emb)[:, None].chunk(2, dim=2)
        return self.whole(self.leave(self.norm(h) * (1 + scale) + shift), x.shape[2:])
