"""Which images of a source can be used: what is left out is counted with its reason."""

import hashlib
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from unnoise.data.dataset import ImageDataset, PixelArray, Size
from unnoise.data.decode import Decoded, decode_image, upright_size
from unnoise.data.workers import Decoding, Named, decode_batches, worker_count
from unnoise.errors import InputError, InputWarning
from unnoise.formats.pictures import NOT_FINITE

CACHED = 128 << 20  # bytes of decoded images in memory
TOGETHER = 32  # images that a worker decodes at once
UNREADABLE = "unreadable"
EMPTY, OUTSIDE = "without an image", "outside the folder"
REASONS = (NOT_FINITE, OUTSIDE, EMPTY)  # of errors that have a name of their own
KINDS = 6  # of remarks that are said
DIGEST = 32  # bytes of SHA-256


@dataclass(frozen=True, slots=True)
class Item:
    """An image: its name, its captions, its label, and a function that reads its bytes."""

    name: str
    captions: tuple[str, ...]
    label: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Skips:
    """The images that are left out, by reason; under `strict` the first is refused."""

    strict: bool
    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, reason: str, detail: str = "") -> None:
        """Leave an image out. Raises InputError under `strict`."""
        if self.strict:
            raise InputError(f"image {name!r}: {detail or reason}; replace it, or leave out strict to skip it")
        self.found.setdefault(reason, []).append(name)

    def add_unreadable(self, name: str, error: str) -> None:
        """Leave an image out that cannot be read. Raises InputError under `strict`."""
        self.add(name, next((reason for reason in REASONS if reason in error), UNREADABLE), error)

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def say(self, name: str, left: int) -> None:
        """Say in one line what is left out of a data set. Raises InputError where no image is left."""
        if not left:
            reasons = f": {self.line()}" if self else ""
            raise InputError(f"data.source {name!r}: none of its {len(self)} images can be read{reasons}")
        if self:
            warnings.warn(f"{name}: {len(self)} images skipped: {self.line()}", InputWarning, stacklevel=3)

    def line(self) -> str:
        """Return each reason with its count and the first name."""
        return ", ".join(f"{len(names)} {reason} ({_short(names)})" for reason, names in self.found.items())


def readable_dataset(name: str, items: Sequence[Item], size: int, skips: Skips) -> ImageDataset:
    """Make a data set of the images whose headers can be read; their pixels are not decoded yet, see `checked`.

    Says in one line what is left out.

    Raises:
        InputError: there is none, or (strict) one is left out.
    """
    good: list[Item] = []
    sizes: list[Size] = []
    digests = bytearray()
    for item in items:
        try:
            raw = item.read()
            sizes.append(upright_size(raw, item.name))
            digests += hashlib.sha256(raw).digest()
            good.append(item)
        except InputError as error:
            skips.add_unreadable(item.name, _without_name(error, item.name))
    skips.say(name, len(good))

    @lru_cache(maxsize=max(1, CACHED // (4 * size * size)))
    def read_at(i: int, target: Size) -> PixelArray:
        with warnings.catch_warnings(action="ignore", category=InputWarning):  # said by `checked`
            return decode_image(good[i].read(), target, good[i].name)

    return ImageDataset(
        name=name,
        captions=tuple(item.captions for item in good),
        concepts=tuple(item.name for item in good),
        read=lambda i: read_at(i, (size, size)),
        skipped=len(skips),
        sizes=tuple(sizes),
        read_at=read_at,
        labels=tuple(item.label for item in good) if any(item.label for item in good) else (),
        items=good,
        digests=np.frombuffer(bytes(digests), np.uint8).reshape(-1, DIGEST),
        target=(size, size),
    )


def checked(dataset: ImageDataset, strict: bool = False, workers: int = 0) -> ImageDataset:
    """Decode every image once, and return the data set of those that can be decoded; say what is left out.

    Raises:
        InputError: there is none, or (strict) one is left out.
    """
    if not dataset.items:
        return dataset
    faults = Faults(dataset, strict)
    parts = batches(range(len(dataset)), TOGETHER)
    for part, images in zip(parts, decoded(dataset, parts, worker_count(workers, len(dataset))), strict=True):
        faults.note(part, images)
    faults.say()
    return replace(without(dataset, faults.bad), checked=True)


def without(dataset: ImageDataset, bad: Collection[int]) -> ImageDataset:
    """Return a data set without some images, which count as skipped."""
    if not bad:
        return dataset
    kept = dataset.subset([i for i in range(len(dataset)) if i not in bad])
    return replace(kept, skipped=dataset.skipped + len(bad))


class Faults:
    """The images of a data set that cannot be decoded, and what its decoders remark."""

    def __init__(self, dataset: ImageDataset, strict: bool = False) -> None:
        self.dataset, self.skips = dataset, Skips(strict)
        self.bad: set[int] = set()
        self.remarks: dict[str, list[str]] = {}

    def note(self, indices: Sequence[int], images: Sequence[Decoded]) -> None:
        """Count images that are decoded. Raises InputError under `strict`."""
        for i, image in zip(indices, images, strict=True):
            if image.pixels is None:
                self.lose(i, image.error)
            for remark in () if image.pixels is None or self.dataset.checked else image.remarks:
                self.remarks.setdefault(remark, []).append(self.dataset.items[i].name)

    def lose(self, i: int, error: str = "") -> None:
        """Count an image that cannot be decoded, once. Raises InputError under `strict`."""
        if i not in self.bad:
            self.skips.add_unreadable(self.dataset.items[i].name, error)
            self.bad.add(i)

    def say(self) -> None:
        """Say what is left out, and what is remarked. Raises InputError where no image is left."""
        name = self.dataset.name
        self.skips.say(name, len(self.dataset) - len(self.bad))
        for remark, names in list(self.remarks.items())[:KINDS]:
            warnings.warn(f"{name}: {len(names)} images ({_short(names)}): {remark}", InputWarning, stacklevel=3)


def decoded(dataset: ImageDataset, parts: Sequence[range], workers: int) -> Decoding:
    """Decode parts of a data set in their order, each image once.

    Raises:
        InputError: an image has changed since the data set was opened.
    """
    if dataset.target is None or not dataset.items:
        return ([Decoded(dataset.read(i)) for i in part] for part in parts)
    return decode_batches(([_named(dataset, i) for i in part] for part in parts), dataset.target, workers)


def _named(dataset: ImageDataset, i: int) -> Named:
    item = dataset.items[i]
    raw = item.read()
    if dataset.digests is not None and hashlib.sha256(raw).digest() != dataset.digests[i].tobytes():
        raise InputError(f"image {item.name!r}: has changed since the data set was opened; start again")
    return item.name, raw


def batches(indices: range, count: int) -> list[range]:
    """Split indices into parts of `count`; the last may be shorter."""
    return [indices[at : at + count] for at in range(0, len(indices), count)]


def _without_name(error: InputError, name: str) -> str:
    return str(error).removeprefix(f"image {name!r}: ")


def _short(names: Sequence[str]) -> str:
    return repr(names[0][-60:]) + (", ..." if len(names) > 1 else "")
