"""Inpainting: x0 is replaced with the known image where nothing is painted.

Masks are 1 where the image is painted and 0 where it is kept, as in the files of the field.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, lerp, maximum, minimum, where
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.prediction import expand
from unnoise.errors import InputError

Share = Callable[[Tensor], Tensor]  # levels (B,) -> share of the process's clock, 0 clean to 1 noise


def inpaint(denoise: Denoise, known: Tensor, mask: Tensor) -> Denoise:
    """Replace every x0 with the known one outside the mask: x0*mask + known*(1 - mask).

    Args:
        denoise: the denoiser to wrap.
        known: (B, *d) in Space coordinates, finite.
        mask: broadcasts to (B, *d), in [0, 1]; 1 is painted, 0 is kept bit for bit.

    Raises:
        InputError: the mask is out of range or of another shape, or `known` is not finite.
    """
    mask = checked(known, mask)
    return lambda x, sigma: composite(denoise(x, sigma), known, mask)


def inpaint_by_level(denoise: Denoise, known: Tensor, mask: Tensor, share: Share) -> Denoise:
    """Paint each place only below a level of its own: the mask is the strength of its place (differential diffusion).

    Args:
        denoise, known: as for `inpaint`.
        mask: the strength, in [0, 1]; 0 is kept bit for bit, 1 is painted at every level.
        share: the share of the clock at a level.

    Source: Levin & Fried 2023, "Differential diffusion: giving each pixel its strength", arXiv 2306.00950, algorithm 1,
    which puts the known image back with noise; here x0 is replaced.
    """
    mask = checked(known, mask)
    return lambda x, sigma: composite(denoise(x, sigma), known, painted_at(mask, expand(share(sigma), x)))


def painted_at(mask: Tensor, share: Tensor) -> Tensor:
    """Return the places of a differential mask that are painted at a share of the clock: 1 or 0."""
    return ((mask == 1) | ((mask > 0) & (share <= mask))).to(mask)


def checked(known: Tensor, mask: Tensor) -> Tensor:
    """Return the mask in the shape of `known`. Raises InputError where the two do not fit or are out of range."""
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise InputError("mask: numbers in [0, 1]; 1 is painted, 0 is kept")
    if not bool(known.isfinite().all()):
        raise InputError("known: contains NaN or infinity")
    try:
        return mask.to(known).expand_as(known)
    except RuntimeError as error:
        raise InputError(f"mask {tuple(mask.shape)}: must broadcast to known, {tuple(known.shape)}") from error


def composite(painted: Tensor, known: Tensor, mask: Tensor) -> Tensor:
    """Return painted*mask + known*(1 - mask), bit for bit known where the mask is 0. The arguments broadcast."""
    return where(mask == 0, known, lerp(known, painted, mask))


def to_cells(mask: Tensor, factor: int) -> Tensor:
    """Reduce a mask of pixels to latent cells. Each cell takes the largest value of its pixels.

    So a line of one pixel is painted. The kept pixels of painted cells must be put back after decoding.

    Args:
        mask: (B, 1, H, W), 1 = painted; the sides are multiples of `factor`.
        factor: pixels of a cell's side.

    Returns:
        (B, 1, H/factor, W/factor).
    """
    return max_pool2d(mask, factor)


def fill(image: Tensor, mask: Tensor) -> Tensor:
    """Fill what is painted outright (mask 1) with the colours around it; nearer pixels count more.

    The receptive field of an encoder is wider than a cell, so old content under the mask would reach kept cells.

    Args:
        image: (B, c, H, W).
        mask: (1, 1, H, W), 1 = painted.

    Source: Gortler et al. 1996, "The lumigraph", section 3.4.2 (pull-push).
    """
    held = mask < 1
    if bool(held.all()) or not bool(held.any()):
        return where(held, image, 0.0)
    share = avg_pool2d(held.to(image), 2, ceil_mode=True)
    mean = avg_pool2d(image * held, 2, ceil_mode=True) / share.clamp(min=0.25)
    coarse = interpolate(fill(mean, 1 - share), size=image.shape[2:], mode="bilinear")
    return where(held, image, coarse)


def feathered(mask: Tensor, pixels: int) -> Tensor:
    """Fade the mask in over some pixels beside what is kept. It is never above the mask itself.

    The mask grows from 0 along a line that reaches 1 at `pixels` + 1 from the nearest kept pixel. A part too thin for
    that seam stays hard, as it would not be painted at all.

    Args:
        mask: (B, 1, H, W), 1 = painted.
        pixels: width of the seam; 0 returns the mask.
    """
    if pixels == 0:
        return mask
    kept = (mask == 0).to(mask)
    ramp, reached = kept, kept
    for distance in range(1, pixels + 1):
        reached = max_pool2d(reached, 3, 1, 1)
        ramp = maximum(ramp, reached * (1 - distance / (pixels + 1)))
    wide = 2 * pixels + 1
    inner = 1 - max_pool2d(kept, wide, 1, pixels)  # 1 where no kept pixel is that near
    deep = max_pool2d(inner, wide, 1, pixels)
    return minimum(mask, where((deep == 1) | (kept == 1), 1 - ramp, mask))


@dataclass(frozen=True, slots=True)
class Region:
    """What a mask covers on the latent grid.

    Args:
        factor: pixels of a cell's side.
        painted: pixels that the mask paints.
        drawn: pixels of the cells that are drawn for them.
        total: pixels of the image.
        box: left, top, right, bottom of those cells, in pixels.
    """

    factor: int
    painted: int
    drawn: int
    total: int
    box: tuple[int, int, int, int]

    def __str__(self) -> str:
        where = "({}, {}) to ({}, {})".format(*self.box)
        return (
            f"mask: paints {self.painted} of {self.total} pixels; the {self.factor}x{self.factor} latent cells "
            f"that cover them have {self.drawn} pixels, {where}; the {self.drawn - self.painted} kept ones are put back"
        )


def region(mask: Tensor, factor: int) -> Region:
    """Measure a mask (1, 1, H, W), 1 = painted, on cells of factor x factor pixels."""
    free = to_cells(mask, factor)[0, 0] > 0
    rows, columns = free.any(1).nonzero().flatten(), free.any(0).nonzero().flatten()
    box = (0, 0, 0, 0)
    if len(rows):
        ends = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        left, top, right, bottom = (factor * int(end) for end in ends)
        box = left, top, right, bottom
    return Region(factor, int((mask > 0).sum()), int(free.sum()) * factor**2, mask.numel(), box)
