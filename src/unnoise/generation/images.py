"""Image inputs as tensors: opened, checked against each other, brought to the size that is drawn."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.diffusion.inpainting import composite, feathered
from unnoise.errors import InputError, InputWarning
from unnoise.generation.media.image import open_image, open_mask

GREY = ("1", "L", "P", "RGB", "LA", "RGBA")  # modes of an image that is read as a mask


@dataclass(frozen=True, slots=True, eq=False)
class RawImages:
    """Image inputs as a person gave them: files, PIL images, tensors."""

    image: Any = None
    mask: Any = None
    control_image: Any = None
    ip_adapter_image: Any = None
    invert_mask: bool = False
    outpaint: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImages:
    """Image inputs of one size.

    Args:
        image: (1, 3, H, W) in [-1, 1], outpainted and padded to the drawn size.
        mask: (1, 1, H, W), 1 = painted, 0 = kept.
        control_image: (1, 3, H, W) in [0, 1].
        ip_adapter_image: (1, 3, h, w) in [-1, 1], in its own size.
        crop: (width, height) of the output, where the drawn size is larger.
        soft: whether a grey of the mask mixes painted and kept pixels.
    """

    image: Tensor | None = None
    mask: Tensor | None = None
    control_image: Tensor | None = None
    ip_adapter_image: Tensor | None = None
    crop: tuple[int, int] | None = None
    soft: bool = True

    def hashes(self) -> dict[str, str | None]:
        """Return the sha256 of each input."""
        names = ("image", "mask", "control_image", "ip_adapter_image")
        return {name: sha256(getattr(self, name)) for name in names}

    def restored(self, data: Tensor, feather: int) -> Tensor:
        """Put the kept pixels back bit for bit, with a seam of `feather` pixels, and crop. data: (B, 3, H, W)."""
        if self.image is not None and self.mask is not None:
            mask = feathered(self.mask if self.soft else (self.mask > 0).float(), feather)
            data = composite(data, self.image.to(data), mask.to(data))
        return data if self.crop is None else data[..., : self.crop[1], : self.crop[0]]


def opened(raw: RawImages) -> RawImages:
    """Open the inputs that are paths. Raises InputError for what cannot be read."""

    def open_one(value: Any, read: Any) -> Any:
        return read(value) if isinstance(value, str | os.PathLike) else value

    return RawImages(
        image=open_one(raw.image, open_image),
        mask=open_one(raw.mask, open_mask),
        control_image=open_one(raw.control_image, open_image),
        ip_adapter_image=open_one(raw.ip_adapter_image, open_image),
        invert_mask=raw.invert_mask,
        outpaint=raw.outpaint,
    )


def resized(raw: RawImages, size: tuple[int, int] | None) -> RawImages:
    """Bring an opened image to the size that was asked for, without what is outpainted; a warning says so."""
    if raw.image is None or size is None or not isinstance(raw.image, Image.Image):
        return raw
    left, top, right, bottom = raw.outpaint or (0, 0, 0, 0)
    inner = size[0] - left - right, size[1] - top - bottom
    if min(inner) < 1:
        raise InputError(f"size {size[0]}x{size[1]}: smaller than the {left + right}x{top + bottom} pixels of outpaint")
    return fitted(raw, inner)


def fitted(raw: RawImages, size: tuple[int, int]) -> RawImages:
    """Bring an opened image to a size, with a warning where it had another."""
    return raw if raw.image is None else replace(raw, image=_resized("image", raw.image, size))


def drawn_size(raw: RawImages, factor: int) -> tuple[int, int] | None:
    """Return the size that is drawn for an opened image: its sides and what is added, up to multiples of `factor`."""
    if raw.image is None:
        return None
    left, top, right, bottom = raw.outpaint or (0, 0, 0, 0)
    return up_to(raw.image.width + left + right, factor), up_to(raw.image.height + top + bottom, factor)


def prepare_images(
    raw: RawImages, size: tuple[int, int], conditioner: ImageConditioner | None, soft: bool, device: torch.device
) -> PreparedImages:
    """Bring opened inputs to the size that is drawn.

    Args:
        raw: opened inputs.
        size: (width, height) that is drawn.
        conditioner: of a network with image channels.
        soft: whether a grey of the mask mixes painted and kept pixels.
        device: of the tensors.

    Raises:
        InputError: an input does not fit, or the mask paints all or nothing.
    """
    control = None if raw.control_image is None else image_tensor(_resized("control_image", raw.control_image, size))
    ip_adapter = None if raw.ip_adapter_image is None else image_tensor(raw.ip_adapter_image).to(device)
    control = None if control is None else ((control + 1) / 2).to(device)
    if raw.image is None:
        return PreparedImages(control_image=control, ip_adapter_image=ip_adapter)
    image = image_tensor(raw.image)
    mask = None if raw.mask is None else mask_tensor(raw.mask, raw.image.size, raw.invert_mask)
    if raw.outpaint is not None:
        image, mask = _outpainted(image, mask, raw.outpaint)
    width, height = image.shape[3], image.shape[2]
    more = size[0] - width, size[1] - height
    if min(more) < 0:
        raise InputError(f"image of {width}x{height}: larger than the drawn size {size[0]}x{size[1]}")
    if max(more) > 0:
        image = _extended(image, (0, 0, *more))
        mask = None if mask is None else F.pad(mask, (0, more[0], 0, more[1]))
    whole_allowed = conditioner is not None and conditioner.masked
    if mask is not None and not whole_allowed and bool((mask == 1).all()):
        raise InputError("mask: paints every pixel (white), so nothing of the image is kept; leave the mask out")
    crop = None if more == (0, 0) else (width, height)
    mask = None if mask is None else mask.to(device)
    return PreparedImages(image.to(device), mask, control, ip_adapter, crop, soft)


def image_tensor(image: Any) -> Tensor:
    """Turn an image into data (1, 3, H, W) in [-1, 1]. Raises InputError for anything but an image."""
    if not isinstance(image, Image.Image):
        raise InputError(f"image {type(image).__name__}: a path or a PIL image")
    values = torch.from_numpy(np.array(image.convert("RGB"), dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1)[None]


def mask_tensor(mask: Any, size: tuple[int, int], invert: bool = False) -> Tensor:
    """Turn a mask into (1, 1, H, W) in [0, 1]: white, 1 or transparent is painted, black or 0 is kept.

    Args:
        mask: an image, or a tensor (H, W) with any leading ones.
        size: (width, height) of the image; a mask of another size is resized, with a warning.
        invert: paint what is black.

    Raises:
        InputError: values out of range, more than 8 bits, or a mask that paints nothing.
    """
    if isinstance(mask, Image.Image):
        found = _painted(mask)
    elif isinstance(mask, Tensor) and mask.ndim >= 2 and mask.numel() == mask.shape[-1] * mask.shape[-2]:
        found = mask.detach().float().reshape(1, 1, *mask.shape[-2:])
    else:
        shape = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"mask {shape}: a path, an image, or a tensor of height {size[1]} and width {size[0]}")
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise InputError("mask: numbers from 0 to 1; 1 is painted, 0 is kept")
    if found.shape[-2:] != size[::-1]:
        warnings.warn(
            f"mask of {found.shape[3]}x{found.shape[2]}: resized to the image's {size[0]}x{size[1]}",
            InputWarning,
            stacklevel=2,
        )
        found = F.interpolate(found, size=size[::-1], mode="bilinear", antialias=True).clamp(0, 1)
    found = 1 - found if invert else found
    if bool((found == 0).all()):
        raise InputError("mask: paints nothing; white (1) or transparent pixels are painted, black (0) is kept")
    return found


def _painted(mask: Image.Image) -> Tensor:
    """Return (1, 1, H, W): the lightness of a mask, and 1 where it is transparent."""
    if mask.mode not in GREY:
        raise InputError(f"mask of mode {mask.mode}: an image of 8 bits a channel; white is painted, black is kept")
    red, green, blue, alpha = torch.from_numpy(np.array(mask.convert("RGBA"), dtype=np.float32)).unbind(2)
    grey = torch.from_numpy(np.array(mask.convert("RGBA").convert("L"), dtype=np.float32))
    opaque = alpha == 255
    if not bool(opaque.all()) and not _is_grey(red[opaque], green[opaque], blue[opaque]):
        warnings.warn("mask: coloured, so only its transparent pixels are painted", InputWarning, stacklevel=2)
        grey = torch.zeros_like(grey)
    return (torch.maximum(grey, 255 - alpha) / 255)[None, None]


def _is_grey(red: Tensor, green: Tensor, blue: Tensor) -> bool:
    return torch.equal(red, green) and torch.equal(green, blue)


def _resized(name: str, image: Any, size: tuple[int, int]) -> Any:
    if not isinstance(image, Image.Image) or image.size == size:
        return image
    warnings.warn(f"{name} of {image.width}x{image.height}: resized to {size[0]}x{size[1]}", InputWarning, stacklevel=2)
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _outpainted(image: Tensor, mask: Tensor | None, sides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Add pixels that are painted; until then they have the colour of the border."""
    left, top, right, bottom = sides
    mask = torch.zeros_like(image[:, :1]) if mask is None else mask
    return _extended(image, sides), F.pad(mask, (left, right, top, bottom), value=1.0)


def _extended(image: Tensor, sides: Sequence[int]) -> Tensor:
    """Repeat the border on the left, top, right and bottom."""
    left, top, right, bottom = sides
    return F.pad(image, (left, right, top, bottom), mode="replicate")


def up_to(side: int, factor: int) -> int:
    """Return the least multiple of a factor that is not below a side."""
    return -(-side // factor) * factor


def sha256(values: Tensor | None) -> str | None:
    """Return the sha256 of a tensor's values, None for none."""
    return None if values is None else hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
