"""What a caller hands in, in place of what is drawn: a starting noise, a picture to be changed."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unnoise.errors import Refusal
from unnoise.files.plan import Plan


@dataclass(frozen=True, slots=True)
class Sums:
    """Name what was handed in by its sha256, as a recipe does."""

    noise: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Hold what was handed in. noise: (rows, *d) in the unit frame; image: (1, 3, H, W) in [-1, 1]."""

    noise: Tensor | None = None
    image: Tensor | None = None

    def sums(self, row: int) -> Sums:
        """Give the sums of what one row began with."""
        return Sums(
            None if self.noise is None else _sha256(self.noise[row]), None if self.image is None else _sha256(self.image)
        )


def given(
    noise: Tensor | None, image: Image.Image | None, shape: tuple[int, ...], plan: Plan, device: torch.device
) -> Given:
    """Check what is handed in. shape: (rows, *d) of x0. Raises Refusal for what does not fit the plan."""
    starts = None
    if noise is not None:
        starts = noise[None] if noise.ndim == len(shape) - 1 else noise
        if starts.shape != shape or not starts.isfinite().all():
            raise Refusal(
                f"noise {list(noise.shape)}: finite, and {list(shape)} for this size and number of pictures"
            )
        starts = starts.to(device, torch.float32)
    if image is None and plan.strength is not None:
        raise Refusal(f"strength {plan.strength:g}: acts on an image, and none is given")
    if image is None:
        return Given(starts)
    if plan.frames is not None or plan.seconds is not None:
        raise Refusal("image: this model makes no pictures")
    if image.size != plan.size:
        raise Refusal(f"image of {image.size[0]}x{image.size[1]}: the size asked for is {plan.size[0]}x{plan.size[1]}")
    return Given(starts, picture_data(image).to(device))


def picture_data(image: Image.Image) -> Tensor:
    """Turn a picture into data (1, 3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1)[None]


def _sha256(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
