"""Data augmentation: variations of an image in background, position, size and hue, with a matching caption.

Each view has a random stream of its own, so view v of image i is always the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.data.dataset import WHITE, ImageDataset, PixelArray
from unnoise.data.decode import is_transparent, with_alpha
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError, nearest
from unnoise.formats.strict_json import Strict

VIEW = 3  # first coordinate of the random streams of this file
STILL = (0.0, 0.0, 1.0)  # the place of an image that is not moved
PLAIN = WHITE  # no pair of a name and this background is held out
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "red": (220, 40, 40),
    "orange": (255, 150, 40),
    "yellow": (255, 225, 80),
    "green": (50, 160, 70),
    "blue": (50, 90, 220),
    "cyan": (90, 210, 230),
    "purple": (130, 60, 180),
    "pink": (255, 160, 200),
    "brown": (125, 80, 45),
}
HUES = {"red": 0.0, "orange": 30 / 360, "yellow": 52 / 360, "green": 130 / 360, "blue": 215 / 360, "purple": 280 / 360}
PHRASES = ("{}", "{}", "{}", "a {}", "an emoji of {}", "{} emoji", "a picture of {}", "an icon of a {}")


@dataclass(frozen=True, slots=True)
class Augment(Strict):
    """The strength of data augmentation. By default there is none: the image and its caption as they are.

    Args:
        phrase: probability of a phrase such as "an icon of a ..." around the caption, 0 to 1.
        background: probability of a coloured background, named in the caption, 0 to 1; an opaque image keeps its own.
        move: probability of a shift and a change of size, 0 to 1.
        shift: largest shift, as a share of the side, 0 to 0.5.
        scale: largest change of size, 0 to 0.5: 1 +- scale.
        hue: probability of another colour, 0 to 1, where the caption has a colour word, which changes with it.
    """

    phrase: float = 0.0
    background: float = 0.0
    move: float = 0.0
    shift: float = 0.06
    scale: float = 0.12
    hue: float = 0.0

    @property
    def none(self) -> bool:
        """Whether every view is the image itself, with its caption as written."""
        return not any((self.phrase, self.background, self.move, self.hue))

    @property
    def same_pixels(self) -> bool:
        """Whether every view has the same pixels."""
        return not any((self.background, self.move, self.hue))

    def __post_init__(self) -> None:
        for name, most in (("phrase", 1), ("background", 1), ("move", 1), ("shift", 0.5), ("scale", 0.5), ("hue", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"augment.{name} {getattr(self, name):g}: from 0 to {most}")


@dataclass(frozen=True, slots=True)
class View:
    """A variation of image `index`: its caption, and the changes to its pixels."""

    index: int
    caption: str
    background: str = PLAIN
    place: tuple[float, float, float] = STILL  # right and down as shares of the side, and scale
    hue_shift: float = 0.0  # as a share of the hue circle


def colour_of(background: str) -> tuple[int, int, int]:
    """Return a colour as red, green and blue, 0 to 255. Raises InputError unless it is a known name or #rrggbb."""
    if background in BACKGROUNDS:
        return BACKGROUNDS[background]
    if not re.fullmatch("#[0-9a-fA-F]{6}", background):
        raise InputError(f"background {background!r}: #rrggbb, or a name; {nearest(background, BACKGROUNDS)}")
    red, green, blue = bytes.fromhex(background[1:])
    return red, green, blue


def plain_view(dataset: ImageDataset, i: int) -> View:
    """Return the image as it is, with its principal caption."""
    return View(i, dataset.captions[i][0], dataset.background)


def held_out(name: str, background: str) -> bool:
    """Return whether training leaves out a pair of principal name and background: 5 % of them, by a fixed hash."""
    total = sum(ord(letter) * (i + 1) for i, letter in enumerate(f"{name} on {background}"))
    return background != PLAIN and total % 20 == 0


def random_view(
    dataset: ImageDataset, i: int, view: int, seed: int, augment: Augment, transparent: bool | None = None
) -> View:
    """Return view number `view` of image i. transparent: whether it has such pixels; None reads it where it matters."""
    if augment.none and len(dataset.captions[i]) == 1:
        return plain_view(dataset, i)
    stream = numbers(seed, VIEW, i, view)
    chance = stream.random(6)
    names = dataset.captions[i]
    name = names[0] if chance[0] < 0.7 else names[int(stream.integers(len(names)))]
    hue_shift = 0.0
    if chance[1] < augment.hue:
        name, hue_shift = _swap_colour(name, stream, dataset)
    phrase = PHRASES[int(stream.integers(len(PHRASES)))]
    caption = phrase.format(name) if chance[4] < augment.phrase else name
    background = dataset.background
    if chance[2] < augment.background and (is_transparent(dataset.read(i)) if transparent is None else transparent):
        allowed = [colour for colour in BACKGROUNDS if not held_out(names[0], colour)]
        background = allowed[int(stream.integers(len(allowed)))]
        caption = f"{caption} on a {background} background"
    place = STILL
    if chance[3] < augment.move:
        right, down, scale = stream.uniform(-1, 1, 3) * (augment.shift, augment.shift, augment.scale)
        place = (float(right), float(down), 1 + float(scale))
    return View(i, caption, background, place, hue_shift)


def _swap_colour(name: str, stream: np.random.Generator, dataset: ImageDataset) -> tuple[str, float]:
    """Replace the colour word of a name, unless another image has that name; return the name and the hue shift."""
    found = re.search(rf"\b({'|'.join(HUES)})\b", name)
    if not found:
        return name, 0.0
    old, new = found[1], list(HUES)[int(stream.integers(len(HUES)))]
    other = name.replace(old, new, 1)
    if other in dataset.names:
        return name, 0.0
    return other, HUES[new] - HUES[old]


def _shift_hue(pixels: PixelArray, hue_shift: float) -> PixelArray:
    """Shift the hue of every pixel by a share of the hue circle. pixels: (H, W, 4)."""
    from PIL import Image

    hue, saturation, value = Image.fromarray(pixels[..., :3]).convert("HSV").split()
    shifted = Image.fromarray((np.asarray(hue).astype(np.int16) + round(hue_shift * 256)).astype(np.uint8))
    rgb = Image.merge("HSV", (shifted, saturation, value)).convert("RGB")
    return np.concatenate([np.asarray(rgb), pixels[..., 3:]], axis=2)


def render_views(dataset: ImageDataset, views: Sequence[View]) -> Tensor:
    """Compute the pixels of views: (B, 3, H, W) in [-1, 1]."""
    return render([dataset.read(view.index) for view in views], views)


def render(pixels: Sequence[PixelArray], views: Sequence[View], device: torch.device | None = None) -> Tensor:
    """Compute views of decoded images: (B, 3, H, W) in [-1, 1].

    Args:
        pixels: (H, W, 3), opaque, or (H, W, 4) uint8 each.
        views: of each.
        device: where they are computed; the CPU if None.
    """
    raw = [_shift_hue(p, view.hue_shift) if view.hue_shift else p for p, view in zip(pixels, views, strict=True)]
    moved = [k for k, view in enumerate(views) if view.place != STILL]
    if moved or any(p.shape[2] == 4 for p in raw):
        raw = [with_alpha(p) for p in raw]
    rgba = torch.from_numpy(np.stack(raw)).to(device).permute(0, 3, 1, 2).float().div_(255)
    if rgba.shape[1] == 3:
        return rgba.mul_(2).sub_(1)
    alpha = rgba[:, 3:]
    premultiplied = torch.cat([rgba[:, :3] * alpha, alpha], dim=1)
    if moved:
        premultiplied[moved] = _move(premultiplied[moved], [views[k].place for k in moved])
    colours = torch.tensor([colour_of(view.background) for view in views], device=device).float()
    colours = colours[:, :, None, None] / 255
    return (premultiplied[:, :3] + (1 - premultiplied[:, 3:]) * colours) * 2 - 1


def _move(x: Tensor, places: Sequence[tuple[float, float, float]]) -> Tensor:
    """Shift and scale each image; uncovered pixels become transparent. x: (B, 4, H, W) premultiplied."""
    rows = [[[1 / s, 0, -2 * right / s], [0, 1 / s, -2 * down / s]] for right, down, s in places]
    maps = torch.tensor(rows, dtype=x.dtype, device=x.device)
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
