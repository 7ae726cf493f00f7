"""What a data set is to the rest of the program: captions, concepts, and a way to read picture i."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unnoise.errors import InputError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class ImageDataset:
    """Pictures with captions.

    captions: for each picture its phrasings, the principal one first; concepts: what each picture is of, the unit that
    training sees equally often; read(i) gives (H, W, 4) uint8, straight alpha; skipped: how many were left out.
    """

    name: str
    captions: tuple[tuple[str, ...], ...]
    concepts: tuple[str, ...]
    read: Callable[[int], Pixels]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.captions)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The pictures of each concept, concepts in alphabetical order."""
        found: dict[str, list[int]] = {}
        for i, concept in enumerate(self.concepts):
            found.setdefault(concept, []).append(i)
        return tuple(tuple(found[concept]) for concept in sorted(found))

    @cached_property
    def names(self) -> frozenset[str]:
        """Every phrasing of every caption."""
        return frozenset(name for phrasings in self.captions for name in phrasings)


def open_source(name: str, size: int, strict: bool = False) -> ImageDataset:
    """Open `emoji`, a folder of pictures, or a .tar file or folder of them, at size x size pixels.

    Raises InputError where there is no such thing, nothing in it, or (strict) anything in it is unreadable.
    """
    if name == "emoji":
        from unnoise.data.emoji import open_emoji

        return open_emoji(size)
    path = Path(name)
    if not path.exists():
        raise InputError(f"data.source {name!r}: 'emoji', or an existing folder of pictures or .tar files")
    if path.suffix == ".tar" or any(path.glob("*.tar")):
        from unnoise.data.tars import open_tars

        return open_tars(path, size, strict)
    from unnoise.data.folder import open_folder

    return open_folder(path, size, strict)
