"""Every view of every picture as x0, made once before the denoiser trains and kept beside its checkpoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.data.view import View, drawn, pixels_of
from unnoise.spaces.space import Space
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.recipe import DataOptions

BATCH = 64


@dataclass(frozen=True, slots=True)
class Latents:
    """What a denoiser trains on. x0: (N, V, C, h, w) float16; ids: (N, V, L) token numbers; lengths: (N, V)."""

    x0: Tensor
    ids: Tensor
    lengths: Tensor


def views_of(source: ImageDataset, data: DataOptions, seed: int) -> list[View]:
    """List every view, those of a picture together."""
    return [drawn(source, i, v, seed, data.augment) for i in range(len(source)) for v in range(data.views)]


def encode_views(
    source: ImageDataset,
    views: list[View],
    space: Space,
    path: Path,
    key: str,
    watch: Callable[[int, int], None],
    device: torch.device | None = None,
) -> Tensor:
    """Give x0 of every view (N*V, C, h, w) in float16, from `path` if it was made for the same `key`.

    watch(done, total) is called after each batch; device: where the space computes, the CPU unless given.
    """
    if path.exists() and read_facts(path).get("key") == key:
        return load_file(path)["x0"]
    parts = []
    for x0 in _encoded(source, views, space, device):
        parts.append(x0.half().cpu())
        watch(min(len(parts) * BATCH, len(views)), len(views))
    whole = torch.cat(parts)
    write_tensors(path, {"x0": whole}, {"key": key})
    return whole


@torch.no_grad()
def _encoded(source: ImageDataset, views: list[View], space: Space, device: torch.device | None) -> Iterator[Tensor]:
    for i in range(0, len(views), BATCH):
        pixels = pixels_of(source, views[i : i + BATCH]).contiguous(memory_format=torch.channels_last)
        yield space.encode(pixels if device is None else pixels.to(device))


def tokens_of(views: list[View], tokenizer: Tokenizer, length: int) -> tuple[Tensor, Tensor]:
    """Cut the captions of views: ids (N*V, L) padded with zeros, lengths (N*V,); longer ones lose their end."""
    cut = [tokenizer.encode(view.caption)[:length] for view in views]
    ids = torch.zeros(len(cut), max(map(len, cut)), dtype=torch.int64)
    for row, tokens in zip(ids, cut, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) for tokens in cut])
