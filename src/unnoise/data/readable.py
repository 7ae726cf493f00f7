"""Which images of a source can be used: each is decoded once, and what is left out is counted with its reason."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageOps

from unnoise.data.dataset import ImageDataset, PixelArray
from unnoise.errors import InputError, InputWarning
from unnoise.formats import pictures

CACHED = 8192  # decoded images in memory
TURNED = (5, 6, 7, 8)  # orientations of EXIF that exchange width and height
UNREADABLE = "unreadable"
KINDS = 6  # of remarks that are said


@dataclass(frozen=True, slots=True)
class Item:
    """An image: its name, its caption, and a function that reads its bytes."""

    name: str
    caption: str
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

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def line(self) -> str:
        """Return each reason with its count and the first name."""
        return ", ".join(f"{len(names)} {reason} ({_short(names)})" for reason, names in self.found.items())


def readable_dataset(name: str, items: Sequence[Item], size: int, skips: Skips) -> ImageDataset:
    """Make a data set of the images that can be decoded; say in one line what is left out.

    Raises:
        InputError: there is none, or (strict) one is left out.
    """
    good: list[Item] = []
    sizes: list[tuple[int, int]] = []
    remarks: dict[str, list[str]] = {}
    for item in items:
        what = f"image {item.name!r}"
        try:
            upright, said = _checked(item, what, size)
            for remark in said:
                remarks.setdefault(remark, []).append(item.name)
            good.append(item)
            sizes.append(upright)
        except InputError as error:
            skips.add(item.name, UNREADABLE, str(error).removeprefix(f"{what}: "))
    if not good:
        reasons = f": {skips.line()}" if skips else ""
        raise InputError(f"data.source {name!r}: none of its {len(skips)} images can be read{reasons}")
    if skips:
        warnings.warn(f"{name}: {len(skips)} images skipped: {skips.line()}", InputWarning, stacklevel=2)
    for remark, names in list(remarks.items())[:KINDS]:
        warnings.warn(f"{name}: {len(names)} images ({_short(names)}): {remark}", InputWarning, stacklevel=2)

    @lru_cache(maxsize=CACHED)
    def read_at(i: int, target: tuple[int, int]) -> PixelArray:
        return decode_image(good[i].read(), target, good[i].name)

    return ImageDataset(
        name=name,
        captions=tuple((item.caption,) for item in good),
        concepts=tuple(item.name for item in good),
        read=lambda i: read_at(i, (size, size)),
        skipped=len(skips),
        sizes=tuple(sizes),
        read_at=read_at,
    )


def _checked(item: Item, what: str, size: int) -> tuple[tuple[int, int], list[str]]:
    """Decode an image; return its upright width and height, and what the decoder remarks.

    Raises InputError where it cannot be decoded.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        with pictures.opened(item.read(), what) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
            upright = (image.height, image.width) if turned else image.size
            image.draft("RGB", (size, size))  # decodes a JPEG at a size close to this
            pictures.normalised(image, what)  # `verify` checks PNG checksums and nothing in other formats
    said = (str(one.message) for one in caught if issubclass(one.category, InputWarning))
    return upright, [line.removeprefix(f"{what}: ") for line in said]


def decode_image(raw: bytes, size: tuple[int, int], name: str) -> PixelArray:
    """Decode an image upright, scale it to cover a width and a height, and centre-crop it: (height, width, 4) uint8.

    Raises:
        InputError: the image cannot be decoded.
    """
    with warnings.catch_warnings(action="ignore", category=InputWarning):  # said when the set was opened
        image = pictures.decode(raw, f"image {name!r}").convert("RGBA")
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.LANCZOS))


def _short(names: Sequence[str]) -> str:
    return repr(names[0][-60:]) + (", ..." if len(names) > 1 else "")
