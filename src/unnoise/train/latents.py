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

from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.data.readable import batches
from unnoise.data.shuffle import Members, members_of
from unnoise.data.view import WORDS, View, other_caption, random_view
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputWarning
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import plain
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.encoded import TRANSPARENT, EncodedViews
from unnoise.train.mapped import Array, map_file, write_mapped
from unnoise.train.recipe import MOST_CAPTIONS, DataOptions

TOGETHER = 1024  # images whose captions are in memory
KEY = "captions.key"  # beside the files of the captions


@dataclass(frozen=True, slots=True)
class CaptionTokens:
    """How captions become tokens.

    Args:
        tokenizer: of the text encoder.
        length: the largest number of tokens; longer captions are cut.
        each: captions of each view.
        keywords: probability of a keyword in those beside a view's own; that of the views if None.
    """

    tokenizer: Tokenizer
    length: int
    each: int = 1
    keywords: float | None = None


@dataclass(frozen=True, slots=True)
class Latents:
    """Training data of a denoiser, of V views of N images.

    Args:
        x0: (N, V, *d); rows are read as `x0[i, v]`.
        members: the images of each concept, for `nth_image`. An image that could not be decoded is in none.
        ids: (N, V * P, L) token ids of P captions of each view; None without captions, as `lengths`.
        lengths: (N, V * P) tokens.
        labels: (N,) numbers of classes; None without classes.
    """

    x0: Tensor | EncodedViews
    members: Members
    ids: Tensor | None = None
    lengths: Tensor | None = None
    labels: Tensor | None = None

    @property
    def each(self) -> int:
        """Captions of each view, P."""
        return 1 if self.ids is None else self.ids.shape[1] // self.x0.shape[1]

    def captions_at(self, views: Sequence[int], streams: Sequence[np.random.Generator]) -> list[int]:
        """Draw the number of a caption of each view, in 0 to V * P - 1."""
        if self.each == 1:
            return [*views]
        return [view * self.each + int(stream.integers(self.each)) for view, stream in zip(views, streams, strict=True)]


def map_latents(
    dataset: ImageDataset,
    data: DataOptions,
    seed: int,
    encoded: EncodedViews,
    classes: Sequence[str],
    text: CaptionTokens | None,
    folder: Path,
) -> Latents:
    """Put the views of each image together with their captions, or their labels, in files that are mapped.

    Args:
        dataset: that was encoded; nothing of it is kept.
        seed: of the views.
        classes: that labels are numbers of; another one has the number of no class.
        text: how captions become tokens; None without captions.
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
    text: CaptionTokens,
    folder: Path,
) -> tuple[Tensor, Tensor]:
    """Tokenize the captions of every view: ids (N, V * P, L), padded with zeros, and lengths (N, V * P), mapped from
    files.

    A run that is resumed maps the files that are there, where the key beside them is the same.
    """
    most, count = text.length, data.views * text.each
    augment = data.augment if text.keywords is None else replace(data.augment, keywords=text.keywords)
    # without augmentation all views of an image have the same caption, unless it has several phrasings
    alike = augment.none and all(len(names) == 1 for names in dataset.captions)
    whole = np.zeros((len(dataset), 1 if alike else count), np.int64)

    def rows() -> Iterator[Array]:
        for part in batches(range(len(dataset)), TOGETHER):
            views = views_of(dataset, replace(data, views=1) if alike else data, seed, part, encoded.states)
            captions = captions_of(dataset, views, augment, seed, 1 if alike else text.each)
            ids, lengths = _tokens(captions, text.tokenizer, most)
            whole[part.start : part.stop] = lengths.reshape(len(part), -1)
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
    shape = (len(dataset), count)
    return ids[..., : int(lengths.max())].expand(*shape, -1), lengths.expand(*shape)


def captions_key(
    dataset: ImageDataset, data: DataOptions, seed: int, encoded: EncodedViews, text: CaptionTokens
) -> str:
    """Hash all that decides the tokens of the captions. The folder of the codes has the name of the images' hash."""
    words = (dataset.captions, dataset.keywords, dataset.styles)
    tokens = (text.tokenizer.merges, text.length, text.each, text.keywords)
    facts = (encoded.folder.name, plain(data.augment), data.views, seed, tokens, words)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def views_of(
    dataset: ImageDataset, data: DataOptions, seed: int, images: Sequence[int], states: Tensor | None = None
) -> list[View]:
    """List every view of some images, grouped by image. states: of `EncodedViews`, or the images are read."""
    transparent = {} if states is None else {i: bool(states[i] == TRANSPARENT) for i in images}
    return [
        random_view(dataset, i, v, seed, data.augment, transparent.get(i)) for i in images for v in range(data.views)
    ]


def captions_of(dataset: ImageDataset, views: Sequence[View], augment: Augment, seed: int, each: int) -> list[str]:
    """List so many captions of each view, its own first. views: those of each image in order, as of `views_of`."""
    found: list[str] = []
    number, last = 0, -1
    for view in views:
        number, last = (number + 1 if view.index == last else 0), view.index
        found.append(view.caption)
        streams = (numbers(seed, WORDS, view.index, number * MOST_CAPTIONS + k) for k in range(1, each))
        found += [other_caption(dataset, view, stream, augment) for stream in streams]
    return found


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
