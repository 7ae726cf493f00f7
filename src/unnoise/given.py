"""What a caller hands in: a noise in place of what is drawn, a picture to be changed, a mask of what to keep of it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unnoise.diffusion.keep import blend, cells
from unnoise.errors import Refusal
from unnoise.files.plan import Plan
from unnoise.spaces.space import Space

Mask = Image.Image | Tensor
SHADES = ("1", "L", "P", "RGB")  # modes of a picture that is read as a mask


@dataclass(frozen=True, slots=True)
class Sight:
    """Say what a network sees of a picture, beside x.

    see(picture, mask): (1, 3, H, W) in [-1, 1], (1, 1, H, W) -> (1, c, h, w) on the cells of x; masked: it is also told
    what to paint, so that it needs a mask and makes the picture fit what is kept.
    """

    see: Callable[[Tensor, Tensor | None], Tensor]
    masked: bool


@dataclass(frozen=True, slots=True)
class Sums:
    """Name what was handed in by its sha256, as a recipe does."""

    noise: str | None = None
    image: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Hold what was handed in.

    noise: (rows, *d) in the unit frame; image: (1, 3, H, W) in [-1, 1]; mask: (1, 1, H, W), 1 = keep, 0 = paint.
    """

    noise: Tensor | None = None
    image: Tensor | None = None
    mask: Tensor | None = None

    def sums(self, row: int) -> Sums:
        """Give the sums of what one row began with."""
        return Sums(_sha256(None if self.noise is None else self.noise[row]), _sha256(self.image), _sha256(self.mask))

    def pasted(self, data: Tensor, soft: bool) -> Tensor:
        """Put kept pixels back, bit for bit. data: (B, 3, H, W); soft: blend where the mask is between 0 and 1."""
        if self.image is None or self.mask is None:
            return data
        return blend(data, self.image.to(data), (self.mask if soft else self.mask == 1).to(data))


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """Hold what a run makes of a picture: each (1, c, h, w), None where it has no part in it.

    begun: x0 from which noise is begun; known: x0 that is kept, where mask, on its cells, says so; seen: beside x.
    """

    begun: Tensor | None = None
    known: Tensor | None = None
    mask: Tensor | None = None
    seen: Tensor | None = None


def edited(handed: Given, plan: Plan, space: Space, sight: Sight | None) -> Edit:
    """Encode a picture once, for all that is made of it."""
    image, mask = handed.image, handed.mask
    if image is None:
        return Edit()
    seen = None if sight is None else sight.see(image, mask)
    begins = sight is None or plan.strength not in (None, 1)
    keeps = mask is not None and (sight is None or not sight.masked)
    known = space.encode(image) if begins or keeps else None
    return Edit(
        begun=known if begins else None,
        known=known if keeps else None,
        mask=cells(mask, space.factor) if keeps and mask is not None else None,
        seen=seen,
    )


def given(
    noise: Tensor | None,
    image: Image.Image | None,
    mask: Mask | None,
    shape: tuple[int, ...],
    plan: Plan,
    sight: Sight | None,
    device: torch.device,
) -> Given:
    """Check what is handed in. shape: (rows, *d) of x0. Raises Refusal for what does not fit the plan or is missing."""
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
    if image is None and sight is not None:
        raise Refusal("image: this model changes a picture that it is shown, and none is given")
    if image is None and mask is not None:
        raise Refusal("mask: says what to keep of an image, and none is given")
    if mask is None and sight is not None and sight.masked:
        raise Refusal("mask: this model is told what to keep of the image (1, white) and what to paint (0, black)")
    if image is None:
        return Given(starts)
    if plan.frames is not None or plan.seconds is not None:
        raise Refusal("image: this model makes no pictures")
    if image.size != plan.size:
        raise Refusal(f"image of {image.size[0]}x{image.size[1]}: the size asked for is {plan.size[0]}x{plan.size[1]}")
    kept = None if mask is None else mask_data(mask, plan.size).to(device)
    return Given(starts, picture_data(image).to(device), kept)


def picture_data(image: Image.Image) -> Tensor:
    """Turn a picture into data (1, 3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1)[None]


def mask_data(mask: Mask, size: tuple[int, int]) -> Tensor:
    """Turn a mask into (1, 1, H, W) in [0, 1]: white or 1 keeps, black or 0 paints. size: (width, height).

    A tensor is (H, W), or that behind ones. Raises Refusal for another size, values out of range, a picture with
    transparency or of more than 8 bits, and a mask that keeps everything.
    """
    if isinstance(mask, Image.Image):
        if mask.mode not in SHADES or mask.has_transparency_data:
            raise Refusal(f"mask of mode {mask.mode}: 8 bits without transparency; white keeps, black paints")
        mask = torch.from_numpy(np.array(mask.convert("L"), dtype=np.float32)) / 255
    found = mask.detach().float()
    if found.shape[-2:] != size[::-1] or found.numel() != size[0] * size[1]:
        raise Refusal(f"mask {list(mask.shape)}: height {size[1]} and width {size[0]}, as the image has")
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise Refusal("mask: numbers in [0, 1]; 1 keeps, 0 paints")
    if bool((found == 1).all()):
        raise Refusal("mask: keeps every pixel (1, white), so there is nothing to paint (0, black)")
    return found.reshape(1, 1, size[1], size[0])


def _sha256(values: Tensor | None) -> str | None:
    return None if values is None else hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
