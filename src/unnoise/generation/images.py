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
from PIL import Image, ImageOps
from torch import Tensor

from unnoise.components import ImageConditioner
from unnoise.diffusion.inpainting import composite, feathered
from unnoise.errors import InputError, InputWarning
from unnoise.formats.pictures import decode, over_white
from unnoise.generation.options import CONTROL_RESIZES, ControlResize

PIXELS = 16_000_000  # of an image input


@dataclass(frozen=True, slots=True, eq=False)
class RawImages:
    """Image inputs as a person gave them: files, PIL images, tensors."""

    image: Any = None
    mask: Any = None
    control_image: Any = None
    ip_adapter_image: Any = None
    invert_mask: bool = False
    outpaint: tuple[int, int, int, int] | None = None
    control_resize: ControlResize = "crop"


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImages:
    """Image inputs of one size.

    Args:
        image: (1, 3, H, W) in [-1, 1], over white, outpainted and padded to the drawn size.
        mask: (1, 1, H, W), 1 = painted, 0 = kept.
        control_image: (1, 3, H, W) in [0, 1].
        ip_adapter_image: (1, 3, h, w) in [-1, 1], in its own size.
        crop: (width, height) of the output, where the drawn size is larger.
        soft: whether a grey of the mask mixes painted and kept pixels.
        straight: (1, 4, H, W) in [-1, 1], an image with transparent pixels, of which some are kept.
    """

    image: Tensor | None = None
    mask: Tensor | None = None
    control_image: Tensor | None = None
    ip_adapter_image: Tensor | None = None
    crop: tuple[int, int] | None = None
    soft: bool = True
    straight: Tensor | None = None

    def hashes(self) -> dict[str, str | None]:
        """Return the sha256 of each input."""
        return {
            "image": sha256(self.image if self.straight is None else self.straight),
            "mask": sha256(self.mask),
            "control_image": sha256(self.control_image),
            "ip_adapter_image": sha256(self.ip_adapter_image),
        }

    def restored(self, data: Tensor, feather: int) -> Tensor:
        """Put the kept pixels back bit for bit, with a seam of `feather` pixels, and crop.

        Args:
            data: (B, 3, H, W) in [-1, 1].
            feather: pixels of the seam.

        Returns:
            (B, 3, H, W), or (B, 4, H, W) with alpha where kept pixels are transparent.
        """
        if self.image is not None and self.mask is not None:
            mask = feathered(self.mask if self.soft else (self.mask > 0).float(), feather)
            data = composite(data, self.image.to(data), mask.to(data))
            if self.straight is not None:
                data = with_alpha(data, self.straight.to(data), mask.to(data))
        return data if self.crop is None else data[..., : self.crop[1], : self.crop[0]]


def opened(raw: RawImages) -> RawImages:
    """Decode the inputs, files and PIL images alike. Raises InputError for what cannot be read."""
    control = _decoded("control_image", raw.control_image)
    ip_adapter = _decoded("ip_adapter_image", raw.ip_adapter_image)
    return replace(
        raw,
        image=_decoded("image", raw.image),
        mask=raw.mask if isinstance(raw.mask, Tensor) else _decoded("mask", raw.mask),
        control_image=None if control is None else over_white(control),
        ip_adapter_image=None if ip_adapter is None else over_white(ip_adapter),
    )


def _decoded(name: str, value: Any) -> Image.Image | None:
    if isinstance(value, str | os.PathLike):
        return decode(value, f"{name} {os.fspath(value)}", PIXELS)
    if value is None or isinstance(value, Image.Image):
        return None if value is None else decode(value, name, PIXELS)
    wanted = "a path, a PIL image or a tensor" if name == "mask" else "a path or a PIL image"
    raise InputError(f"{name} {type(value).__name__}: {wanted}")


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
    control = None if raw.control_image is None else image_tensor(_fitted_control(raw, size))
    ip_adapter = None if raw.ip_adapter_image is None else image_tensor(raw.ip_adapter_image).to(device)
    control = None if control is None else ((control + 1) / 2).to(device)
    if raw.image is None:
        return PreparedImages(control_image=control, ip_adapter_image=ip_adapter)
    pixels = _layers(raw.image)
    mask = None if raw.mask is None else mask_tensor(raw.mask, raw.image.size, raw.invert_mask)
    if raw.outpaint is not None:
        pixels, mask = _outpainted(pixels, mask, raw.outpaint)
    width, height = pixels.shape[3], pixels.shape[2]
    more = size[0] - width, size[1] - height
    if min(more) < 0:
        raise InputError(f"image of {width}x{height}: larger than the drawn size {size[0]}x{size[1]}")
    if max(more) > 0:
        pixels = _extended(pixels, (0, 0, *more))
        mask = None if mask is None else F.pad(mask, (0, more[0], 0, more[1]))
    whole_allowed = conditioner is not None and conditioner.masked
    if mask is not None and not whole_allowed and bool((mask == 1).all()):
        raise InputError("mask: paints every pixel (white), so nothing of the image is kept; leave the mask out")
    crop = None if more == (0, 0) else (width, height)
    pixels, mask = pixels.to(device), None if mask is None else mask.to(device)
    straight = pixels[:, 3:] if pixels.shape[1] > 3 and mask is not None else None
    if pixels.shape[1] > 3 and mask is None:
        warnings.warn("image: its transparent pixels become white, as none is kept", InputWarning, stacklevel=2)
    return PreparedImages(pixels[:, :3], mask, control, ip_adapter, crop, soft, straight)


def _layers(image: Image.Image) -> Tensor:
    """Return (1, 3, H, W), an image over white; behind it, of RGBA, the four channels as they are: (1, 7, H, W)."""
    shown = image_tensor(over_white(image))
    return torch.cat([shown, _data(image)], dim=1) if image.mode == "RGBA" else shown


def image_tensor(image: Any) -> Tensor:
    """Turn an image into data (1, 3, H, W) in [-1, 1]. Raises InputError for anything but an image."""
    if not isinstance(image, Image.Image):
        raise InputError(f"image {type(image).__name__}: a path or a PIL image")
    return _data(image.convert("RGB"))


def _data(image: Image.Image) -> Tensor:
    values = torch.from_numpy(np.array(image, dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1)[None]


def with_alpha(data: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Give data its alpha: that of the image where it is kept, opaque where it is painted, between them a mixture.

    Args:
        data: (B, 3, H, W) in [-1, 1], over white.
        image: (1, 4, H, W) in [-1, 1], whose pixels come back bit for bit where the mask is 0.
        mask: (1, 1, H, W), 1 = painted.

    Returns:
        (B, 4, H, W), which is `data` over white.
    """
    alpha = mask + (1 - mask) * (image[:, 3:] + 1) / 2
    colour = (1 - (1 - data) / alpha.clamp(min=1 / 255)).clamp(-1, 1)  # white is 1
    return torch.where(mask == 0, image, torch.cat([colour, (alpha * 2 - 1).expand(len(data), -1, -1, -1)], dim=1))


def mask_tensor(mask: Any, size: tuple[int, int], invert: bool = False) -> Tensor:
    """Turn a mask into (1, 1, H, W) in [0, 1]: white, 1 or transparent is painted, black or 0 is kept.

    Args:
        mask: an image, or a tensor (H, W) with any leading ones.
        size: (width, height) of the image; a mask of another size is resized, with a warning.
        invert: paint what is black.

    Raises:
        InputError: values out of range, or a mask that paints nothing.
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


def _fitted_control(raw: RawImages, size: tuple[int, int]) -> Image.Image:
    """Bring a control image to a size; one of another shape as `control_resize` says, with a warning."""
    image: Image.Image = raw.control_image
    if raw.control_resize == "stretch" or _has_shape(image, size):
        return _resized("control_image", image, size)
    done = {"crop": "cropped", "pad": "padded with black"}[raw.control_resize]
    line = f"control_image of {image.width}x{image.height}: {done} to the shape of {size[0]}x{size[1]}"
    warnings.warn(f"{line}; control_resize can be {', '.join(CONTROL_RESIZES)}", InputWarning, stacklevel=2)
    fit = ImageOps.fit if raw.control_resize == "crop" else ImageOps.pad
    return fit(image, size, Image.Resampling.LANCZOS)


def _has_shape(image: Image.Image, size: tuple[int, int]) -> bool:
    """Return whether an image, scaled to lie within a size, fills it to the pixel."""
    scale = min(size[0] / image.width, size[1] / image.height)
    return (round(image.width * scale), round(image.height * scale)) == size


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
