"""A small transformer for prompts: one feature a token for cross-attention, one vector for the whole prompt."""

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.nets.blocks import Attention
from unnoise.nets.checks import check_least, check_multiple


class TextLayer(nn.Module):
    """Self-attention and a feed-forward net, each a residual branch with a normalisation first (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.mix = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.mix(self.norm1(x), mask=mask)
        return x + self.feed(self.norm2(x))


class TextEncoder(nn.Module):
    """Encode token ids as `Conditioning`.

    ids: (B, L), 0 <= id < vocab, L <= length; mask: (B, L), True = a token, False = padding. Every row has at least one
    token. Returns tokens (B, L, width), the mask, and vector (B, width): the mean over the real tokens.

    Args:
        vocab: tokens, at least 1.
        width: features of a token, a multiple of `heads`.
        depth: layers, at least 0.
        heads: of the attention, at least 1.
        length: largest number of tokens, at least 1.

    Source: Vaswani et al. 2017; Xiong et al. 2020 for the place of the normalisation.
    """

    def __init__(self, vocab: int, width: int, depth: int, heads: int, length: int) -> None:
        super().__init__()
        check_least(1, vocab=vocab, heads=heads, length=length)
        check_multiple("width", width, heads, "the heads of its attention")
        self.length = length
        self.embed = nn.Embedding(vocab, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.ModuleList(TextLayer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> Conditioning:
        x = self.embed(ids) + self.place[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x)
        real = mask[:, :, None].to(x.dtype)
        return Conditioning(tokens=x, mask=mask, vector=(x * real).sum(1) / real.sum(1))
