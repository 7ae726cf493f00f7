"""Inpainting: what is kept is known, so the denoiser may as well say so."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.prediction import expand
from unnoise.errors import InputError


def keep(denoise: Denoise, known: Tensor, mask: Tensor) -> Denoise:
    """Put what is known into every answer: known*mask + x0*(1 - mask), bit for bit known where mask is 1.

    known: (B, *d) in Space coordinates; mask: broadcasts to (B, *d), in [0, 1], 1 = keep, 0 = paint.
    Raises InputError for a mask out of range or of another shape, and for a known that is not finite.
    """
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise InputError("mask: numbers in [0, 1]; 1 keeps, 0 paints")
    if not bool(known.isfinite().all()):
        raise InputError("known: holds NaN or infinity")
    try:
        mask = mask.to(known).expand_as(known)
    except RuntimeError as error:
        raise InputError(f"mask {tuple(mask.shape)}: broadcasts to known, {tuple(known.shape)}") from error

    def kept(x: Tensor, sigma: Tensor) -> Tensor:
        return blend(denoise(x, sigma), known, mask)

    return kept


def blend(made: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Give known*mask + made*(1 - mask), bit for bit known where mask is 1. made, known, mask: broadcast."""
    return torch.where(mask == 1, known, torch.lerp(made, known, mask))


def keep_by_level(denoise: Denoise, known: Tensor, mask: Tensor, share: Callable[[Tensor], Tensor]) -> Denoise:
    """Keep each place until the level down to which it may change: the mask is 1 - the strength of its place.

    A place of mask m says known while share(sigma) > 1 - m, and is free below; 1 is kept always, bit for bit, 0 never.
    share: how far a level is on the model's clock, 0 clean to 1 noise, (B,) -> (B,). Raises InputError as `keep` does.
    Source: Levin & Fried 2023, "Differential diffusion: giving each pixel its strength", arXiv 2306.00950, algorithm 1,
    which puts the known back with noise where here x0 is replaced.
    """
    keep(denoise, known, mask)

    def kept(x: Tensor, sigma: Tensor) -> Tensor:
        far = expand(share(sigma), x)
        return blend(denoise(x, sigma), known, ((mask == 1) | ((mask > 0) & (far > 1 - mask))).to(known))

    return kept


def cells(mask: Tensor, factor: int) -> Tensor:
    """Reduce a mask of pixels to cells of factor x factor, each kept as the least kept pixel of its area is.

    So everything that is to be painted is, be it one pixel wide; what is kept in those cells has to be put back in
    pixels. mask: (B, 1, H, W), 1 = keep, sides multiples of factor -> (B, 1, H/factor, W/factor).
    """
    return -max_pool2d(-mask, factor)


def filled(picture: Tensor, mask: Tensor) -> Tensor:
    """Fill what is painted outright with the colours around it, the nearer the more.

    An encoder sees further than one cell: what is to be painted over would leak into the cells that are kept beside it.
    picture: (B, c, H, W); mask: (1, 1, H, W), 1 = keep; only places of 0 are filled -> (B, c, H, W).
    Source: Gortler et al. 1996, "The lumigraph", section 3.4.2 (pull-push).
    """
    held = mask > 0
    if bool(held.all()) or not bool(held.any()):
        return torch.where(held, picture, 0.0)
    share = avg_pool2d(held.to(picture), 2, ceil_mode=True)
    mean = avg_pool2d(picture * held, 2, ceil_mode=True) / share.clamp(min=0.25)
    coarse = interpolate(filled(mean, share), size=picture.shape[2:], mode="bilinear")
    return torch.where(held, picture, coarse)


def feathered(mask: Tensor, pixels: int) -> Tensor:
    """Let what is kept fade into what is painted over some pixels. mask: (B, 1, H, W), 1 = keep -> the same.

    It is 1 where the mask is, and falls with the distance from there along a line that is 0 `pixels` + 1 further. What
    is too thin to hold that seam has none, as it would not be painted at all. Never below the mask.
    """
    if pixels == 0:
        return mask
    outright = (mask == 1).to(mask)
    ramp, reached = outright, outright
    for distance in range(1, pixels + 1):
        reached = max_pool2d(reached, 3, 1, 1)
        ramp = torch.maximum(ramp, reached * (1 - distance / (pixels + 1)))
    wide = 2 * pixels + 1
    inner = -max_pool2d(-(1 - outright), wide, 1, pixels)  # what is that far from all that is kept
    deep = max_pool2d(inner, wide, 1, pixels)
    return torch.maximum(mask, torch.where((deep == 1) | (outright == 1), ramp, mask))


@dataclass(frozen=True, slots=True)
class Region:
    """Say what a mask comes to on a grid of cells.

    factor: pixels of a cell's side; asked: pixels to be painted; drawn: pixels of the cells that are drawn for them;
    total: of the picture; box: left, top, right, bottom of those cells, in pixels.
    """

    factor: int
    asked: int
    drawn: int
    total: int
    box: tuple[int, int, int, int]

    def __str__(self) -> str:
        where = "({}, {}) to ({}, {})".format(*self.box)
        return (
            f"the mask paints {self.asked} of {self.total} pixels; on cells of {self.factor} x {self.factor} that is "
            f"{self.drawn} pixels from {where}, of which {self.drawn - self.asked} are put back"
        )


def region(mask: Tensor, factor: int) -> Region:
    """Measure a mask (1, 1, H, W), 1 = keep, on cells of factor x factor pixels."""
    free = cells(mask, factor)[0, 0] < 1
    rows, columns = free.any(1).nonzero().flatten(), free.any(0).nonzero().flatten()
    box = (0, 0, 0, 0)
    if len(rows):
        ends = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        left, top, right, bottom = (factor * int(end) for end in ends)
        box = left, top, right, bottom
    return Region(factor, int((mask < 1).sum()), int(free.sum()) * factor**2, mask.numel(), box)
