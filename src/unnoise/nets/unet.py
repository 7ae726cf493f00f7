"""A U-Net for data of one, two or three dimensions, conditioned by cross-attention and by a pooled vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.nets.blocks import CONV, POOL, Attention, GlobalEmbedding, NetExtras, ResBlock, fold, unfold, zeroed
from unnoise.nets.checks import check_least, check_stages
from unnoise.nets.mean import MeanSample


def coordinates(x: Tensor) -> Tensor:
    """Return the coordinates of every position as channels: (B, rank, *d), each from -1 to 1 along its axis.

    Otherwise only padding, near the border, depends on the position.   Source: Liu et al. 2018 (CoordConv).
    """
    axes = [torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(x), -1, *x.shape[2:])


class AttentionBlock(nn.Module):
    """Self-attention among positions, then cross-attention to the tokens of the prompt; each is a residual branch.

    x: (B, width, *d); tokens: (B, L, context); mask: (B, L).
    """

    def __init__(self, width: int, heads: int, context: int | None, groups: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.mix = Attention(width, heads)
        self.norm_cross = nn.LayerNorm(width) if context else None
        self.cross = Attention(width, heads, context) if context else None
        zeroed(self.mix.out)

    def forward(self, x: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        flat = x.flatten(2).transpose(1, 2)
        flat = flat + self.mix(self.norm(x).flatten(2).transpose(1, 2))
        if self.cross is not None and self.norm_cross is not None and tokens is not None:
            flat = flat + self.cross(self.norm_cross(flat), tokens, mask)
        return flat.transpose(1, 2).reshape(x.shape)


class UNetStage(nn.Module):
    """A few residual blocks at one resolution, each followed by attention where the resolution has it."""

    def __init__(self, rank: int, channels: int, width: int, depth: int, emb: int, heads: int, context: int | None):
        super().__init__()
        entries = [channels] + [width] * (depth - 1)
        self.blocks = nn.ModuleList(ResBlock(rank, entry, width, emb) for entry in entries)
        self.attends = nn.ModuleList(AttentionBlock(width, heads, context) for _ in entries if heads)

    def forward(self, x: Tensor, emb: Tensor, cond: Conditioning) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x, emb)
            if self.attends:
                x = self.attends[i](x, cond.tokens, cond.mask)
        return x


@dataclass(frozen=True, slots=True)
class UNetExtras(NetExtras):
    """The arguments of a U-Net that have defaults in most models.

    Args:
        patch: side of the squares of positions that are one position of the finest resolution, at least 1.
        mean: sizes of x0, one number a dimension. The mean of x0 is predicted from the vector of the prompt, and read
            as more channels of x. Without sizes the network has no mean.
    """

    patch: int = 1
    mean: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        NetExtras.__post_init__(self)
        check_least(1, patch=self.patch)
        if self.mean and len(self.mean) != self.rank:
            raise InputError(f"mean {[*self.mean]}: {self.rank} sizes, one a dimension of x0")


class UNet(nn.Module):
    """Predict in the kind of the denoiser from noisy data and its time.

    x: (B, channels, *d) with every size a multiple of patch * 2**(levels - 1); time: (B,); cond: tokens
    (B, L, context), mask (B, L), vector (B, vector) or label (B,) below `labels`. Returns (B, channels, *d), or
    (B, points * channels, *d).

    `widths`, `depths` and `heads` have one entry a resolution, finest first. The coarsest resolution is the middle: it
    has one stage, the others one in the down path and one in the up path. `extras` are the fields of UNetExtras.

    Args:
        channels: of x: those of the latents, or 3 for pixels.
        widths: features, one number a resolution, at least two, each a multiple of 32.
        depths: residual blocks of a stage, one number a resolution, each at least 1.
        heads: of the attention, one number a resolution, each a divisor of the width; 0 is no attention there.
        context: features of a token for cross-attention: `denoiser.text.width`; none reads no tokens.
        vector: features of the pooled prompt: `denoiser.text.width`; none reads none.
        labels: number of labels; none reads none.

    Source: Ronneberger et al. 2015; Ho et al. 2020, appendix B; Rombach et al. 2022, section 3.3.
    """

    extras = UNetExtras

    def __init__(
        self,
        channels: int,
        widths: list[int],
        depths: list[int],
        heads: list[int],
        context: int | None = None,
        vector: int | None = None,
        labels: int | None = None,
        **extras: Any,
    ) -> None:
        super().__init__()
        more = self.extras(**extras)
        rank = more.rank
        more.state(self)
        check_stages(widths, depths, heads)
        check_least(1, channels=channels)
        emb = 4 * widths[0]
        self.patch, self.factor = more.patch, more.patch * 2 ** (len(widths) - 1)
        if more.mean and vector is None:
            raise InputError(f"mean {[*more.mean]}: predicted from the vector of the prompt; set vector")
        self.mean = MeanSample(vector, channels, more.mean) if more.mean and vector else None
        cell = channels * more.patch**rank
        self.embed = GlobalEmbedding(widths[0], emb, vector, labels, more)
        self.enter = CONV[rank]((2 if more.mean else 1) * cell + rank, widths[0], 3, padding=1)
        levels = list(zip(widths, depths, heads, strict=True))
        entries = [widths[0], *widths[:-2]]
        self.down = nn.ModuleList(
            UNetStage(rank, entry, width, depth, emb, head, context)
            for entry, (width, depth, head) in zip(entries, levels[:-1], strict=True)
        )
        width, depth, head = levels[-1]
        self.middle = UNetStage(rank, widths[-2], width, depth, emb, head, context)
        self.up = nn.ModuleList(
            UNetStage(rank, coarser + width, width, depth, emb, head, context)
            for coarser, (width, depth, head) in zip(widths[:0:-1], levels[-2::-1], strict=True)
        )
        self.norm = nn.GroupNorm(32, widths[0])
        self.leave = zeroed(CONV[rank](widths[0], cell * more.points, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning, added: Sequence[Tensor] = ()) -> Tensor:
        """Run the net. added: features of a ControlNet, added after every stage of the down path and the middle."""
        emb = self.embed(time, cond)
        x = fold(x if self.mean is None else self.mean.beside(x, cond.vector), self.patch)
        h = self.enter(torch.cat([x, coordinates(x)], dim=1))
        skips = []
        for level, stage in enumerate(self.down):
            h = stage(h, emb, cond)
            h = h + added[level] if added else h
            skips.append(h)
            h = POOL[x.ndim - 2](h, 2)
        h = self.middle(h, emb, cond)
        h = h + added[-1] if added else h
        for stage in self.up:
            h = torch.cat([F.interpolate(h, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1)
            h = stage(h, emb, cond)
        return unfold(self.leave(F.silu(self.norm(h))), self.patch)
