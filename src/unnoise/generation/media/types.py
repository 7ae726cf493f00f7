"""What a sample is: an image, a video or audio."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Images of one size, `fps` a second."""

    frames: Sequence[Image.Image]
    fps: float


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Waves (channels, n) in [-1, 1], `rate` samples a second."""

    waves: Tensor
    rate: int


Media = Image.Image | Video | Audio
