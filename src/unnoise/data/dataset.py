"""A data set of images: captions, labels, concepts, and a function that reads image i."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

PixelArray = np.ndarray[Any, np.dtype[np.uint8]]
Size = tuple[int, int]  # width, height
WHITE = "white"


class EncodedImage(Protocol):
    """An image as a file or a part of one."""

    @property
    def name(self) -> str:
        """Where it is, for messages."""

    @property
    def read(self) -> Callable[[], bytes]:
        """Returns its bytes. Raises InputError where they cannot be read."""


@dataclass(frozen=True)
class ImageDataset:
    """Images, with or without captions and labels.

    Args:
        name: `emoji`, or the path of the folder or tar.
        captions: the phrasings of each image, the principal one first; one empty text where it has none.
        concepts: the subject of each image. Training draws every concept equally often.
        read: i -> (H, W, 4) uint8, straight alpha.
        skipped: the number of images that were left out.
        held_out: the number of images that were taken out for validation.
        sizes: width and height of each image before `read` scales it; empty where it does not.
        labels: the name of the class of each image; empty for a data set without classes.
        read_at: (i, (width, height)) -> (height, width, 4) uint8, scaled to cover that size and centre-cropped.
        items: the bytes of each image; empty where `read` decodes nothing.
        digests: (N, 32) uint8, the SHA-256 of those bytes; None where there are none.
        checked: whether every image has been decoded, and what is remarked of them said.
        target: width and height that `read` scales to; None where it does not.
        keywords: other words for the subject of each image, such as "puppy" for a dog; empty where there are none.
        styles: the style of each image, such as "flat"; empty for a data set of one style.
        background: colour behind transparent pixels, a name of `view.BACKGROUNDS` or #rrggbb.
    """

    name: str
    captions: tuple[tuple[str, ...], ...]
    concepts: tuple[str, ...]
    read: Callable[[int], PixelArray]
    skipped: int = 0
    held_out: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    read_at: Callable[[int, tuple[int, int]], PixelArray] | None = None
    labels: tuple[str, ...] = ()
    items: Sequence[EncodedImage] = ()
    digests: PixelArray | None = None
    target: Size | None = None
    checked: bool = False
    background: str = WHITE
    keywords: tuple[tuple[str, ...], ...] = ()
    styles: tuple[str, ...] = ()

    def subset(self, indices: Sequence[int]) -> "ImageDataset":
        """Return the data set of some of the images, which are numbered anew."""
        read, read_at = self.read, self.read_at
        return replace(
            self,
            captions=tuple(self.captions[i] for i in indices),
            concepts=tuple(self.concepts[i] for i in indices),
            sizes=tuple(self.sizes[i] for i in indices) if self.sizes else (),
            labels=tuple(self.labels[i] for i in indices) if self.labels else (),
            keywords=tuple(self.keywords[i] for i in indices) if self.keywords else (),
            styles=tuple(self.styles[i] for i in indices) if self.styles else (),
            read=lambda k: read(indices[k]),
            read_at=None if read_at is None else lambda k, size: read_at(indices[k], size),
            items=tuple(self.items[i] for i in indices) if self.items else (),
            digests=None if self.digests is None else self.digests[list(indices)],
        )

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def captioned(self) -> bool:
        """Whether any image has a caption."""
        return any(name for phrasings in self.captions for name in phrasings)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: whole numbers by value, then the others in alphabetical order."""
        return tuple(sorted(set(self.labels), key=_class_order))

    @property
    def shapes(self) -> str:
        """The size of the images as they are in the source, or the smallest and the largest; empty if it is unknown."""
        found = sorted(set(self.sizes), key=lambda size: (size[0] * size[1], size))
        ends = [f"{width}x{height}" for width, height in found[:: max(1, len(found) - 1)]]
        return f"{len(found)} sizes from {' to '.join(ends)}" if len(found) > 1 else "".join(ends)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The images of each concept, concepts in alphabetical order."""
        found: dict[str, list[int]] = {}
        for i, concept in enumerate(self.concepts):
            found.setdefault(concept, []).append(i)
        return tuple(tuple(found[concept]) for concept in sorted(found))

    @cached_property
    def of_style(self) -> dict[str, tuple[int, ...]]:
        """The images of each style; all of them under the empty name where there is one style."""
        if not self.styles:
            return {"": tuple(range(len(self)))}
        found: dict[str, list[int]] = {}
        for i, style in enumerate(self.styles):
            found.setdefault(style, []).append(i)
        return {style: tuple(images) for style, images in found.items()}

    @cached_property
    def keyword_shares(self) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...]:
        """The share of each keyword of an image: 1 / sqrt(names that it is a keyword of), normalised.

        A word that few names share, such as "puppy", says more of an image than one of many, such as "animal".
        """
        each = {(names[0], words) for names, words in zip(self.captions, self.keywords, strict=True)}
        uses = Counter(word for _, words in each for word in words)
        weights = [np.array([uses[word] ** -0.5 for word in words]) for words in self.keywords]
        return tuple(row / row.sum() if len(row) else row for row in weights)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every phrasing of every caption."""
        return frozenset(name for phrasings in self.captions for name in phrasings)


def _class_order(name: str) -> tuple[bool, int, str]:
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name
