"""The codes of every view of every image, as a training reads them: mapped from the files of a cache."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.data.readable import batches
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.spaces.space import moments

OPAQUE, TRANSPARENT, UNREADABLE = 0, 1, 2  # states of an image
LEVELS = 127.5  # half of the range of 8 bits
MOMENTS = "moments.json"
MEASURED = 1 << 18  # numbers of codes that are measured together


@dataclass(frozen=True, slots=True, eq=False)
class EncodedViews:
    """The codes of V views of N images, of which `encoded[i, v]` is read as float32.

    Args:
        codes: (N, V, *d), mapped from a file; (N, 1, *d) where all views of an image are the same.
        views: V.
        states: (N,) OPAQUE, TRANSPARENT or UNREADABLE. The codes of an unreadable image are zero.
        folder: of the cache.
        shift, scale: (c, 1, ...), subtracted from a code, and what it is then divided by.
        patch: side of the squares of pixels that are folded into channels as they are read.
    """

    codes: Tensor
    views: int
    states: Tensor
    folder: Path
    shift: Tensor | float = 0.0
    scale: Tensor | float = 1.0
    patch: int = 1

    @property
    def shape(self) -> torch.Size:
        """(N, V, *d)."""
        channels, *sides = self.codes.shape[2:]
        return torch.Size(
            (len(self.codes), self.views, channels * self.patch**2, *(side // self.patch for side in sides))
        )

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, place: tuple[int | Sequence[int], int | Sequence[int]]) -> Tensor:
        images, views = place
        values = self._values(self.codes[images, 0 if self.codes.shape[1] == 1 else views])
        x0 = (values - self.shift) / self.scale
        return x0 if self.patch == 1 else F.pixel_unshuffle(x0, self.patch)

    def _values(self, codes: Tensor) -> Tensor:
        return codes.float() / LEVELS - 1 if codes.dtype == torch.uint8 else codes.float()

    @property
    def readable(self) -> list[int]:
        """The images that could be decoded."""
        return _where(self.states != UNREADABLE)

    @property
    def unreadable(self) -> list[int]:
        """The images that could not be decoded."""
        return _where(self.states == UNREADABLE)

    def normalised(self, shift: Sequence[float], scale: Sequence[float], patch: int = 1) -> "EncodedViews":
        """Return codes of zero mean and unit variance, for a space of this shift, scale and patch."""
        trailing = (1,) * (self.codes.ndim - 3)
        mean, deviation = (torch.tensor(values).reshape(-1, *trailing) for values in (shift, scale))
        return replace(self, shift=mean, scale=deviation, patch=patch)

    def moments(self) -> tuple[list[float], list[float]]:
        """Return the mean and the standard deviation of each channel."""
        path = self.folder / MOMENTS
        if not path.exists():
            parts = batches(range(len(self)), max(1, MEASURED // self.codes[0].numel()))
            found = moments(lambda data: data, (self._plain(part) for part in parts if self._kept(part).any()))
            with replacing(path) as file:
                file.write(json.dumps(found).encode())
        mean, deviation = json.loads(read_text(path))
        return mean, deviation

    def _kept(self, part: range) -> Tensor:
        return self.states[part.start : part.stop] != UNREADABLE

    def _plain(self, part: range) -> Tensor:
        return self._values(self.codes[part.start : part.stop][self._kept(part)].flatten(0, 1))


def _where(mask: Tensor) -> list[int]:
    found: list[int] = mask.nonzero()[:, 0].tolist()
    return found
