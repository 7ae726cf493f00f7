"""One picture as many: other backgrounds, places, sizes and hues, with a caption that says so.

A view is drawn from a stream of numbers, so view v of picture i is the same whenever and wherever it is asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.data.dataset import ImageDataset, Pixels
from unnoise.diffusion.noise import numbers

VIEW = 3  # the first coordinate of the streams of this file
PLAIN = "white"  # the background of a caption that names none
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
class Augment:
    """How far a view may go from its picture; all zero leaves the picture on white, as it is.

    background: chance of a named background; move: chance of a shift by up to `shift` (share of the side) and a scale
    of 1 +- `scale`; hue: chance of a swapped colour word where the caption has one.
    """

    background: float = 0.5
    move: float = 0.4
    shift: float = 0.06
    scale: float = 0.12
    hue: float = 0.05


@dataclass(frozen=True, slots=True)
class View:
    """A drawn view: which picture, with which caption, and what is done to its pixels."""

    picture: int
    caption: str
    background: str = PLAIN
    place: tuple[float, float, float] = (0.0, 0.0, 1.0)  # right and down in shares of the side, and scale
    turn: float = 0.0  # of the hue circle


def held_out(name: str, background: str) -> bool:
    """Tell the pairs that training never sees: 5 % of (name, named background), by a hash that stays the same.

    A picture's principal name decides, whichever phrasing its caption uses.
    """
    total = sum(ord(letter) * (i + 1) for i, letter in enumerate(f"{name} on {background}"))
    return background != PLAIN and total % 20 == 0


def drawn(source: ImageDataset, i: int, view: int, seed: int, augment: Augment) -> View:
    """Draw view number `view` of picture i."""
    stream = numbers(seed, VIEW, i, view)
    chance = stream.random(6)
    names = source.captions[i]
    name = names[0] if chance[0] < 0.7 else names[int(stream.integers(len(names)))]
    turn = 0.0
    if chance[1] < augment.hue:
        name, turn = _swapped(name, stream, source)
    caption = PHRASES[int(stream.integers(len(PHRASES)))].format(name)
    background = PLAIN
    if chance[2] < augment.background:
        allowed = [colour for colour in BACKGROUNDS if not held_out(names[0], colour)]
        background = allowed[int(stream.integers(len(allowed)))]
        caption = f"{caption} on a {background} background"
    place = (0.0, 0.0, 1.0)
    if chance[3] < augment.move:
        right, down, scale = stream.uniform(-1, 1, 3) * (augment.shift, augment.shift, augment.scale)
        place = (float(right), float(down), 1 + float(scale))
    return View(i, caption, background, place, turn)


def _swapped(name: str, stream: np.random.Generator, source: ImageDataset) -> tuple[str, float]:
    """Swap the colour word of a name for another, unless that name is another picture's."""
    found = re.search(rf"\b({'|'.join(HUES)})\b", name)
    if not found:
        return name, 0.0
    old, new = found[1], list(HUES)[int(stream.integers(len(HUES)))]
    other = name.replace(old, new, 1)
    if other in source.names:
        return name, 0.0
    return other, HUES[new] - HUES[old]


def _turned(pixels: Pixels, turn: float) -> Pixels:
    """Turn the hue of every pixel by a share of the circle. pixels: (H, W, 4)."""
    from PIL import Image

    hue, saturation, value = Image.fromarray(pixels[..., :3]).convert("HSV").split()
    turned = Image.fromarray((np.asarray(hue).astype(np.int16) + round(turn * 256)).astype(np.uint8))
    rgb = Image.merge("HSV", (turned, saturation, value)).convert("RGB")
    return np.concatenate([np.asarray(rgb), pixels[..., 3:]], axis=2)


def pixels_of(source: ImageDataset, views: Sequence[View]) -> Tensor:
    """Paint views as pictures: (B, 3, H, W) in [-1, 1]."""
    raw = [source.read(view.picture) for view in views]
    raw = [_turned(p, view.turn) if view.turn else p for p, view in zip(raw, views, strict=True)]
    rgba = torch.from_numpy(np.stack(raw)).permute(0, 3, 1, 2).float() / 255
    alpha = rgba[:, 3:]
    premultiplied = torch.cat([rgba[:, :3] * alpha, alpha], dim=1)
    moved = [k for k, view in enumerate(views) if view.place != (0.0, 0.0, 1.0)]
    if moved:
        premultiplied[moved] = _moved(premultiplied[moved], [views[k].place for k in moved])
    colours = torch.tensor([BACKGROUNDS[view.background] for view in views]).float()[:, :, None, None] / 255
    return (premultiplied[:, :3] + (1 - premultiplied[:, 3:]) * colours) * 2 - 1


def _moved(x: Tensor, places: Sequence[tuple[float, float, float]]) -> Tensor:
    """Shift and scale each picture, transparent where nothing comes from. x: (B, 4, H, W) premultiplied."""
    maps = torch.tensor(
        [[[1 / s, 0, -2 * right / s], [0, 1 / s, -2 * down / s]] for right, down, s in places], dtype=x.dtype
    )
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
