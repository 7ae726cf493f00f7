"""The cache of encoded views: each image is decoded and encoded once, into files that a training maps into memory.

A cache is a folder with the name of its key, which hashes all that decides its content. It is written block by block;
the manifest counts the blocks that are complete, and a build that was stopped goes on behind them.
"""

import fcntl
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor, nn

from unnoise.data.dataset import ImageDataset, Size
from unnoise.data.decode import Decoded, is_transparent
from unnoise.data.readable import Faults, batches, decoded
from unnoise.data.view import View, plain_view, random_view, render
from unnoise.data.workers import worker_count
from unnoise.devices import size as format_size
from unnoise.errors import InputError, InputWarning
from unnoise.formats.atomic import refusing_writes, replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict, dump, parse, plain
from unnoise.train.encoded import LEVELS, OPAQUE, TRANSPARENT, UNREADABLE, EncodedViews
from unnoise.train.mapped import map_file
from unnoise.train.recipe import DataOptions

FORMAT = 3  # of the files, and of how views are rendered; a cache of another one is not used
BATCH = 64  # views that are encoded together, at most
AREA = 1 << 21  # pixels of all of them: two images of 1024 x 1024
BLOCK = 16  # batches of a block
MANIFEST, CODES, STATES, LOCK = "manifest.json", "codes.bin", "states.bin", "lock"

EncodeCallback = Callable[[int, int], None]  # views that are encoded, and all of them


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """What makes codes of pixels.

    Args:
        encode: (B, 3, H, W) in [-1, 1] -> (B, *d).
        fingerprint: of all that decides the codes.
        device: where `encode` computes.
        dtype: of the codes in the file; uint8 for codes in [-1, 1], such as pixels.
    """

    encode: Callable[[Tensor], Tensor]
    fingerprint: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: Literal["float16", "uint8"] = "float16"


@dataclass(frozen=True, slots=True)
class Manifest(Strict):
    """What a cache holds.

    Args:
        images: rows of the cache.
        views: codes of each.
        shape: of a code.
        dtype: of a code.
        batch: images that are encoded together.
        block: images of a block.
        done: images of complete blocks.
    """

    images: int
    views: int
    shape: tuple[int, ...]
    dtype: str
    batch: int
    block: int
    done: int = 0

    @property
    def row(self) -> int:
        """The bytes of an image's codes."""
        return self.views * prod(self.shape) * np.dtype(self.dtype).itemsize


def fingerprint_of(net: nn.Module) -> str:
    """Hash the weights of a network."""
    digest = hashlib.sha256()
    for tensor in net.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def encode_views(
    dataset: ImageDataset, data: DataOptions, seed: int, encoder: Encoder, folder: Path, callback: EncodeCallback
) -> EncodedViews:
    """Encode every view of every image, or map what an earlier run has encoded of the same images.

    Images that cannot be decoded are said in one line. A process that trains together with others calls this when the
    first of them has.

    Args:
        seed: of augmentation.
        folder: of caches.
        callback: called after each batch; what it raises leaves the complete blocks.

    Raises:
        InputError: no image can be decoded, or one has changed since the data set was opened.
        OutputError: the disk is full; the complete blocks stay.
    """
    place = folder / cache_key(dataset, data, seed, encoder)[:32]
    faults = Faults(dataset)
    with _alone(place):
        manifest = _manifest(place, dataset, data, encoder)
        if manifest.done < manifest.images:
            _check_room(place, manifest)
            build = _Build(dataset, data, seed, encoder, faults)
            manifest = build.run(place, manifest, callback)
    shape = (manifest.images, manifest.views, *manifest.shape)
    states = map_file(place / STATES, (manifest.images,), "uint8")
    found = EncodedViews(map_file(place / CODES, shape, manifest.dtype), data.views, states, place)
    for i in found.unreadable:
        faults.lose(i)
    faults.say()
    callback(manifest.images * manifest.views, manifest.images * manifest.views)
    return found


def cache_key(dataset: ImageDataset, data: DataOptions, seed: int, encoder: Encoder) -> str:
    """Hash all that decides the codes: the content of every image, how it is varied, and what encodes it."""
    facts: dict[str, Any] = {
        "format": FORMAT,
        "size": image_size(dataset),
        "background": dataset.background,
        "encoder": encoder.fingerprint,
        "dtype": encoder.dtype,
    }
    augment = data.augment
    if not augment.same_pixels:
        pixels = {name: value for name, value in plain(augment).items() if name != "unknown"}
        facts |= {"views": data.views, "seed": seed, "augment": pixels}
    if any((augment.background, augment.hue, augment.recolour, augment.resize, augment.scene)):
        # These follow the words of a caption, and which words are drawn decides what is drawn after them.
        facts |= {"captions": dataset.captions, "keywords": dataset.keywords, "styles": dataset.styles}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    if dataset.digests is not None:
        digest.update(dataset.digests.tobytes())
    else:
        for i in range(len(dataset)):
            digest.update(hashlib.sha256(dataset.read(i).tobytes()).digest())
    return digest.hexdigest()


def image_size(dataset: ImageDataset) -> Size:
    """Return width and height of the images of a data set."""
    if dataset.target is not None:
        return dataset.target
    height, width = dataset.read(0).shape[:2]
    return width, height


def cache_folder(data: DataOptions, run: Path) -> Path:
    """Return the folder of the caches of a run."""
    return Path(data.cache) if data.cache else run / "cache"


def codes_each(data: DataOptions) -> int:
    """Return the codes that are kept of each image."""
    return 1 if data.augment.same_pixels else data.views


@torch.no_grad()
def _manifest(place: Path, dataset: ImageDataset, data: DataOptions, encoder: Encoder) -> Manifest:
    """Read the manifest of a cache, or make that of a new one."""
    if (place / MANIFEST).exists():
        found = parse(Manifest, read_text(place / MANIFEST), str(place / MANIFEST))
        if _length(place / CODES) >= found.done * found.row and _length(place / STATES) >= found.done:
            return found
    width, height = image_size(dataset)
    views = codes_each(data)
    code = encoder.encode(torch.zeros(1, 3, height, width, device=encoder.device))
    batch = max(1, min(BATCH, AREA // (width * height)) // views)
    return Manifest(len(dataset), views, tuple(code.shape[1:]), encoder.dtype, batch, BLOCK * batch)


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True, slots=True, eq=False)
class _Build:
    """The encoding of a data set."""

    dataset: ImageDataset
    data: DataOptions
    seed: int
    encoder: Encoder
    faults: Faults

    def run(self, place: Path, manifest: Manifest, callback: EncodeCallback) -> Manifest:
        """Encode what is not complete yet."""
        parts = batches(range(manifest.done, manifest.images), manifest.batch)
        images = decoded(self.dataset, parts, worker_count(self.data.workers, manifest.images - manifest.done))
        with (
            closing(images),
            _appended(place / CODES, manifest.done * manifest.row) as codes,
            _appended(place / STATES, manifest.done) as states,
        ):
            for part, found in zip(parts, images, strict=True):
                encoded, state = self._encode(part, found, manifest)
                with refusing_writes(place / CODES):
                    codes.write(encoded.tobytes())
                    states.write(state.tobytes())
                    if part.stop % manifest.block == 0 or part.stop == manifest.images:
                        manifest = replace(manifest, done=part.stop)
                        _complete(place, manifest, (codes, states))
                callback(part.stop * manifest.views, manifest.images * manifest.views)
        return manifest

    @torch.no_grad()
    def _encode(
        self, part: range, images: Sequence[Decoded], manifest: Manifest
    ) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
        """Return the codes (len(part), views, *d) of some images, and their states."""
        self.faults.note(part, images)
        codes = np.zeros((len(part), manifest.views, *manifest.shape), manifest.dtype)
        states = np.full(len(part), UNREADABLE, np.uint8)
        pixels, views = [], []
        for k, (i, image) in enumerate(zip(part, images, strict=True)):
            if image.pixels is not None:
                states[k] = TRANSPARENT if is_transparent(image.pixels) else OPAQUE
                views += self._views(i, bool(states[k] == TRANSPARENT), manifest.views)
                pixels += [image.pixels] * manifest.views
        found = [self._codes(pixels[at : at + BATCH], views[at : at + BATCH]) for at in range(0, len(views), BATCH)]
        if found:
            codes[states != UNREADABLE] = np.concatenate(found).reshape(-1, *codes.shape[1:])
        return codes, states

    def _views(self, i: int, transparent: bool, count: int) -> list[View]:
        augment = self.data.augment
        if augment.same_pixels:
            return [plain_view(self.dataset, i)]
        return [random_view(self.dataset, i, v, self.seed, augment, transparent) for v in range(count)]

    def _codes(self, pixels: Sequence[Any], views: Sequence[View]) -> "np.ndarray[Any, Any]":
        data = render(pixels, views, self.dataset.read, self.encoder.device)
        code = self.encoder.encode(data.contiguous(memory_format=torch.channels_last)).float()
        if self.encoder.dtype == "uint8":
            return ((code + 1) * LEVELS).round().clamp(0, 255).byte().cpu().numpy()
        return code.half().cpu().contiguous().numpy()


def _check_room(place: Path, manifest: Manifest) -> None:
    """Raise InputError if what is left to encode does not fit on the disk."""
    needed, free = (manifest.images - manifest.done) * (manifest.row + 1), shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"cannot write {str(place)!r}: {format_size(needed)} of encoded views, and {format_size(free)} are free; "
            f"free some, or set data.cache to a folder on another disk"
        )


def _complete(place: Path, manifest: Manifest, files: Sequence[BinaryIO]) -> None:
    """Count a block as complete, once it is on the disk."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    with replacing(place / MANIFEST) as file:
        file.write(dump(manifest).encode())


@contextmanager
def _appended(path: Path, length: int) -> Iterator[BinaryIO]:
    """Open a file to write behind its first `length` bytes; what is there is left out."""
    with refusing_writes(path):
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(length)
        file.seek(length)
    try:
        yield file
    finally:
        with refusing_writes(path):
            file.close()


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold a cache for one process at a time; another one waits, and says so."""
    with refusing_writes(place):
        place.mkdir(parents=True, exist_ok=True)
        file = (place / LOCK).open("ab")
    with file:
        with suppress(OSError):  # of a file system without locks
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                warnings.warn(f"{place}: another process encodes there; waiting for it", InputWarning, stacklevel=4)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
