"""What a caller hands in: a noise in place of what is drawn, a picture to be changed, a mask of what to keep of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.diffusion.inpainting import blend, cells, feathered, filled
from unnoise.errors import InputError
from unnoise.generation.limits import LORA, check_number
from unnoise.generation.resolve import Plan
from unnoise.spaces.space import Space

if TYPE_CHECKING:
    from unnoise.adapters.lora.read import Adapter

Mask = Image.Image | Tensor
SHADES = ("1", "L", "P", "RGB")  # modes of a picture that is read as a mask


@dataclass(frozen=True, slots=True, eq=False)
class RawInputs:
    """Hold what a caller hands in, as `generate` describes it; adapters: what is worn, each with its weight."""

    noise: Tensor | None = None
    image: Image.Image | None = None
    mask: Mask | None = None
    control_image: Image.Image | None = None
    look: Image.Image | None = None
    adapters: "Sequence[tuple[Adapter, float]]" = ()


@dataclass(frozen=True, slots=True)
class InputHashes:
    """Name what was handed in by its sha256, as a recipe does."""

    noise: str | None = None
    image: str | None = None
    mask: str | None = None
    control_image: str | None = None
    look: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedInputs:
    """Hold what was handed in, checked.

    noise: (rows, *d) in the unit frame; image: (1, 3, H, W) in [-1, 1], with what was added at its sides; mask:
    (1, 1, H, W), 1 = keep, 0 = paint; hint: (1, 3, H, W) in [0, 1]; look: (1, 3, h, w) in [-1, 1], of its own size;
    crop: (width, height) that is cut out of what is drawn, where the image's sides are no multiples of the model's.
    """

    noise: Tensor | None = None
    image: Tensor | None = None
    mask: Tensor | None = None
    control_image: Tensor | None = None
    look: Tensor | None = None
    crop: tuple[int, int] | None = None
    adapters: "Sequence[tuple[Adapter, float]]" = ()

    def sums(self, row: int) -> InputHashes:
        """Give the sums of what one row began with."""
        first = None if self.noise is None else self.noise[row]
        return InputHashes(*(_sha256(one) for one in (first, self.image, self.mask, self.control_image, self.look)))

    def pasted(self, data: Tensor, soft: bool, feather: int) -> Tensor:
        """Put kept pixels back, bit for bit, with a seam of `feather` pixels in what is painted, and cut to size.

        data: (B, 3, H, W); soft: blend where the mask is between 0 and 1.
        """
        if self.image is not None and self.mask is not None:
            shares = feathered(self.mask if soft else (self.mask == 1).float(), feather)
            data = blend(data, self.image.to(data), shares.to(data))
        return data if self.crop is None else data[..., : self.crop[1], : self.crop[0]]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedInputs:
    """Hold what a run makes of a picture: each (1, c, h, w), None where it has no part in it.

    begun: x0 from which noise is begun; known: x0 that is kept, where mask, on its cells, says so; seen: beside x.
    """

    begun: Tensor | None = None
    known: Tensor | None = None
    mask: Tensor | None = None
    seen: Tensor | None = None


def encoded(handed: PreparedInputs, plan: Plan, space: Space, sight: ImageConditioner | None) -> EncodedInputs:
    """Encode a picture once, for all that is made of it."""
    image, mask = handed.image, handed.mask
    if image is None:
        return EncodedInputs()
    seen = None if sight is None else sight.encode(image, mask)
    begins = sight is None or plan.strength not in (None, 1)
    keeps = mask is not None and (sight is None or not sight.masked)
    known = space.encode(filled(image, mask)) if keeps and mask is not None else None
    return EncodedInputs(
        begun=space.encode(image) if begins else None,
        known=known,
        mask=cells(mask, space.factor) if keeps and mask is not None else None,
        seen=seen,
    )


def given(
    handed: RawInputs, shape: tuple[int, ...], plan: Plan, sight: ImageConditioner | None, device: torch.device
) -> PreparedInputs:
    """Check what is handed in. shape: (rows, *d) of x0. Raises InputError for what does not fit the plan or is missing."""
    _check_together(handed, plan, sight)
    for _, weight in handed.adapters:
        check_number("lora weight", weight, -LORA, LORA)
    control_image = None if handed.control_image is None else (_sized("hint", handed.control_image, plan.size) + 1) / 2
    found = PreparedInputs(
        noise=_starts(handed.noise, shape, device),
        control_image=None if control_image is None else control_image.to(device),
        look=None if handed.look is None else picture_data(handed.look).to(device),
        adapters=handed.adapters,
    )
    if handed.image is None:
        return found
    image = picture_data(handed.image)
    kept = None if handed.mask is None else mask_data(handed.mask, handed.image.size)
    if plan.change.expand is not None:
        image, kept = expanded(image, kept, plan.change.expand)
    height, width = image.shape[-2:]
    more = plan.size[0] - width, plan.size[1] - height
    if not (more[0] >= 0 and more[1] >= 0):
        raise InputError(f"image of {width}x{height}: the size asked for is {plan.size[0]}x{plan.size[1]}")
    if more != (0, 0):
        image, kept = (
            padded(image, (0, 0, *more)),
            None if kept is None else F.pad(kept, (0, more[0], 0, more[1]), value=1.0),
        )
    if kept is not None and not (sight is not None and sight.masked) and bool((kept == 0).all()):
        raise InputError("mask: paints every pixel (0, black), so nothing of the image is kept; leave the mask out")
    crop = None if more == (0, 0) else (width, height)
    return replace(found, image=image.to(device), mask=None if kept is None else kept.to(device), crop=crop)


def _check_together(handed: RawInputs, plan: Plan, sight: ImageConditioner | None) -> None:
    """Raise InputError for what acts only beside something else that is not there, or that the model cannot take."""
    change, image = plan.change, handed.image
    for name, value in (("strength", plan.strength), ("expand", change.expand), ("origin", change.origin)):
        if image is None and value is not None:
            raise InputError(f"{name} {value!r}: acts on an image, and none is given")
    if image is None and sight is not None:
        raise InputError("image: this model changes a picture that it is shown, and none is given")
    if image is None and handed.mask is not None:
        raise InputError("mask: says what to keep of an image, and none is given")
    masked = handed.mask is not None or change.expand is not None
    if not masked and sight is not None and sight.masked:
        raise InputError("mask: this model is told what to keep of the image (1, white) and what to paint (0, black)")
    for name, acts in (("repaint", change.repaint), ("feather", change.feather), ("soft", change.soft != "blend")):
        if acts and not masked:
            raise InputError(f"{name}: acts along a mask, and none is given")
    if image is not None and (plan.frames is not None or plan.seconds is not None):
        raise InputError("image: this model makes no pictures")
    if change.origin is not None and (sight is not None or plan.sampler.stochastic):
        raise InputError(
            "origin: the noise of a picture is found for a deterministic sampler, and a model that sees only x"
        )
    if change.tile is not None and (sight is not None or handed.control_image is not None):
        raise InputError("tile: windows do not cut what the network sees beside x; draw without tiles")
    for name, value in (("origin", change.origin), ("variation", change.variation)):
        if handed.noise is not None and value is not None:
            raise InputError(f"{name}: decides the noise, and one is handed in")
    if change.variation is not None and change.origin is not None:
        raise InputError("variation: decides the noise, and origin does too")


def _starts(noise: Tensor | None, shape: tuple[int, ...], device: torch.device) -> Tensor | None:
    if noise is None:
        return None
    starts = noise[None] if noise.ndim == len(shape) - 1 else noise
    if starts.shape != shape or not starts.isfinite().all():
        raise InputError(f"noise {list(noise.shape)}: finite, and {list(shape)} for this size and number of pictures")
    return starts.to(device, torch.float32)


def _sized(name: str, image: Image.Image, size: tuple[int, int]) -> Tensor:
    if image.size != size:
        raise InputError(f"{name} of {image.size[0]}x{image.size[1]}: {size[0]}x{size[1]} is drawn, and it fits that")
    return picture_data(image)


def expanded(image: Tensor, kept: Tensor | None, sides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Add pixels left, above, right and below: to be painted, with the colour of the border until they are."""
    left, above, right, below = sides
    kept = torch.ones_like(image[:, :1]) if kept is None else kept
    return padded(image, sides), F.pad(kept, (left, right, above, below))


def padded(image: Tensor, sides: Sequence[int]) -> Tensor:
    """Repeat the border left, above, right and below."""
    left, above, right, below = sides
    return F.pad(image, (left, right, above, below), mode="replicate")


def picture_data(image: Image.Image) -> Tensor:
    """Turn a picture into data (1, 3, H, W) in [-1, 1]."""
    values = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1)[None]


def mask_data(mask: Mask, size: tuple[int, int]) -> Tensor:
    """Turn a mask into (1, 1, H, W) in [0, 1]: white or 1 keeps, black or 0 paints. size: (width, height).

    A tensor is (H, W), or that behind ones. Raises InputError for another size, values out of range, a picture with
    transparency or of more than 8 bits, and a mask that keeps everything.
    """
    if isinstance(mask, Image.Image):
        if mask.mode not in SHADES or mask.has_transparency_data:
            raise InputError(f"mask of mode {mask.mode}: 8 bits without transparency; white keeps, black paints")
        mask = torch.from_numpy(np.array(mask.convert("L"), dtype=np.float32)) / 255
    found = mask.detach().float()
    if found.shape[-2:] != size[::-1] or found.numel() != size[0] * size[1]:
        raise InputError(f"mask {list(mask.shape)}: height {size[1]} and width {size[0]}, as the image has")
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise InputError("mask: numbers in [0, 1]; 1 keeps, 0 paints")
    if bool((found == 1).all()):
        raise InputError("mask: keeps every pixel (1, white), so there is nothing to paint (0, black)")
    return found.reshape(1, 1, size[1], size[0])


def _sha256(values: Tensor | None) -> str | None:
    return None if values is None else hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
