"""The training data of a denoiser: encoded views, with captions as tokens, or labels, all mapped from files."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.data.readable import batches
from unnoise.data.shuffle import Members, members_of
from unnoise.data.view import View, random_view
from unnoise.errors import InputWarning
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import plain
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.encoded import TRANSPARENT, EncodedViews
from unnoise.train.mapped import Array, map_file, write_mapped
from unnoise.train.recipe import DataOptions

TOGETHER = 1024  # images whose captions are in memory
KEY = "captions.key"  # beside the files of the captions


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

    x0: Tensor | EncodedViews
    members: Members
    ids: Tensor | None = None
    lengths: Tensor | None = None
    labels: Tensor | None = None


def map_latents(
    dataset: ImageDataset,
    data: DataOptions,
    seed: int,
    encoded: EncodedViews,
    classes: Sequence[str],
    text: tuple[Tokenizer, int] | None,
    folder: Path,
) -> Latents:
    """Put the views of each image together with their captions, or their labels, in files that are mapped.

    Args:
        dataset: that was encoded; nothing of it is kept.
        seed: of the views.
        classes: that labels are numbers of; another one has the number of no class.
        text: the tokenizer, and the largest number of tokens; None without captions.
        folder: of the files.
    """
    members = members_of(dataset.concepts, encoded.readable)
    order = Members(*(_mapped(folder / f"{name}.bin", getattr(members, name)).numpy() for name in ("images", "starts")))
    if dataset.labels:
        number = {name: k for k, name in enumerate(classes)}
        labels = _mapped(folder / "labels.bin", np.array([number.get(name, len(classes)) for name in dataset.labels]))
        return Latents(encoded, order, labels=labels)
    if text is None:
        return Latents(encoded, order)
    return Latents(encoded, order, *map_captions(dataset, data, seed, encoded, text, folder))


def map_captions(
    dataset: ImageDataset,
    data: DataOptions,
    seed: int,
    encoded: EncodedViews,
    text: tuple[Tokenizer, int],
    folder: Path,
) -> tuple[Tensor, Tensor]:
    """Tokenize the caption of every view: ids (N, V, L), padded with zeros, and lengths (N, V), mapped from files.

    A run that is resumed maps the files that are there, where the key beside them is the same.
    """
    tokenizer, most = text
    # without augmentation all views of an image have the same caption, unless it has several phrasings
    views = 1 if data.augment.none and all(len(names) == 1 for names in dataset.captions) else data.views
    whole = np.zeros((len(dataset), views), np.int64)

    def rows() -> Iterator[Array]:
        for part in batches(range(len(dataset)), TOGETHER):
            varied = views_of(dataset, replace(data, views=views), seed, part, encoded.states)
            ids, lengths = _tokens([view.caption for view in varied], tokenizer, most)
            whole[part.start : part.stop] = lengths.reshape(-1, views)
            yield ids

    key, ids_file, lengths_file = folder / KEY, folder / "ids.bin", folder / "lengths.bin"
    own = captions_key(dataset, data, seed, encoded, text)
    if key.exists() and read_text(key) == own:
        ids, lengths = map_file(ids_file, (*whole.shape, most), "int32"), map_file(lengths_file, whole.shape, "int64")
    else:
        key.unlink(missing_ok=True)  # before the files are replaced, and written when both are
        ids = write_mapped(ids_file, rows(), (*whole.shape, most), "int32")
        lengths = _mapped(lengths_file, _cut(whole, most))
        with replacing(key) as file:
            file.write(own.encode())
    shape = (len(dataset), data.views)
    return ids[..., : int(lengths.max())].expand(*shape, -1), lengths.expand(*shape)


def captions_key(
    dataset: ImageDataset, data: DataOptions, seed: int, encoded: EncodedViews, text: tuple[Tokenizer, int]
) -> str:
    """Hash all that decides the tokens of the captions. The folder of the codes has the name of the images' hash."""
    words = (dataset.captions, dataset.keywords, dataset.styles)
    facts = (encoded.folder.name, plain(data.augment), data.views, seed, text[0].merges, text[1], words)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def views_of(
    dataset: ImageDataset, data: DataOptions, seed: int, images: Sequence[int], states: Tensor | None = None
) -> list[View]:
    """List every view of some images, grouped by image. states: of `EncodedViews`, or the images are read."""
    transparent = {} if states is None else {i: bool(states[i] == TRANSPARENT) for i in images}
    return [
        random_view(dataset, i, v, seed, data.augment, transparent.get(i)) for i in images for v in range(data.views)
    ]


def tokenize_views(views: Sequence[View], tokenizer: Tokenizer, length: int) -> tuple[Tensor, Tensor]:
    """Tokenize the captions of views: ids (N, L), padded with zeros, and lengths (N,). A longer one is cut."""
    ids, whole = _tokens([view.caption for view in views], tokenizer, length)
    lengths = _cut(whole, length)
    return torch.from_numpy(ids[:, : lengths.max()]), torch.from_numpy(lengths)


def _tokens(captions: Sequence[str], tokenizer: Tokenizer, most: int) -> tuple[Array, Array]:
    """Return tokens, (N, most) int32, and how many there are before a caption is cut: (N,) int64."""
    tokens = [tokenizer.encode(caption) for caption in captions]
    ids = np.zeros((len(tokens), most), np.int32)
    for row, whole in zip(ids, tokens, strict=True):
        row[: len(whole)] = whole[:most]
    return ids, np.array([len(whole) for whole in tokens])


def _cut(lengths: Array, most: int) -> Array:
    """Return lengths of at most `most` tokens; say in one line how many captions are longer."""
    longer = int((lengths > most).sum())
    if longer:
        warnings.warn(
            f"{longer} of {lengths.size} captions have more than denoiser.text.length {most} tokens, up to "
            f"{lengths.max()}, and are cut",
            InputWarning,
            stacklevel=3,
        )
    return np.minimum(lengths, most)


def _mapped(path: Path, values: Array) -> Tensor:
    return write_mapped(path, [values], values.shape, str(values.dtype))
