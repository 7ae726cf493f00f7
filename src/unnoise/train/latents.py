"""The latents of every view of every image, encoded once before the denoiser trains and cached in a file."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import Members
from unnoise.data.view import View, random_view, render_views
from unnoise.errors import InputWarning
from unnoise.spaces.space import Space
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.recipe import DataOptions

BATCH = 64  # images that are encoded together, at most
AREA = 1 << 21  # pixels of all of them: two images of 1024 x 1024


@dataclass(frozen=True, slots=True)
class Latents:
    """Training data of a denoiser, of V views of N images.

    Args:
        x0: (N, V, *d); rows are read as `x0[i, v]`.
        members: the images of each concept, for `nth_image`. An image that could not be decoded is in none.
        ids: (N, V, L) token ids; None without captions, as `lengths`.
        lengths: (N, V) tokens.
        labels: (N,) numbers of classes; None without classes.
    """

    x0: Tensor
    members: Members
    ids: Tensor | None = None
    lengths: Tensor | None = None
    labels: Tensor | None = None


def all_views(dataset: ImageDataset, data: DataOptions, seed: int) -> list[View]:
    """List every view of every image, grouped by image."""
    return [random_view(dataset, i, v, seed, data.augment) for i in range(len(dataset)) for v in range(data.views)]


def encode_views(
    dataset: ImageDataset,
    views: list[View],
    space: Space,
    path: Path,
    key: str,
    callback: Callable[[int, int], None],
    device: torch.device | None = None,
) -> Tensor:
    """Return x0 of every view (N*V, C, h, w) in float16, from `path` if it was written for the same `key`.

    Args:
        callback: called with (done, total) after each batch.
        device: of the space; the CPU unless given.
    """
    if path.exists() and read_facts(path).get("key") == key:
        return load_file(path)["x0"]
    parts, done = [], 0
    for x0 in _encode_batches(dataset, views, space, device):
        parts.append(x0.half().cpu())
        done += len(x0)
        callback(done, len(views))
    whole = torch.cat(parts)
    write_tensors(path, {"x0": whole}, {"key": key})
    return whole


@torch.no_grad()
def _encode_batches(
    dataset: ImageDataset, views: list[View], space: Space, device: torch.device | None
) -> Iterator[Tensor]:
    together = max(1, min(BATCH, AREA // render_views(dataset, views[:1])[0, 0].numel()))
    for i in range(0, len(views), together):
        pixels = render_views(dataset, views[i : i + together]).contiguous(memory_format=torch.channels_last)
        yield space.encode(pixels if device is None else pixels.to(device))


def tokenize_views(views: list[View], tokenizer: Tokenizer, length: int) -> tuple[Tensor, Tensor]:
    """Tokenize the captions of views: ids (N*V, L), padded with zeros, and lengths (N*V,). A longer one is cut."""
    whole = [tokenizer.encode(view.caption) for view in views]
    longer = sum(len(tokens) > length for tokens in whole)
    if longer:
        warnings.warn(
            f"{longer} of {len(views)} captions have more than denoiser.text.length {length} tokens, up to "
            f"{max(map(len, whole))}, and are cut",
            InputWarning,
            stacklevel=2,
        )
    captions = [tokens[:length] for tokens in whole]
    ids = torch.zeros(len(captions), max(map(len, captions)), dtype=torch.int64)
    for row, tokens in zip(ids, captions, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) for tokens in captions])
