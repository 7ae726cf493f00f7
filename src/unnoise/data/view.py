"""Views: variations of an image in colour, size, position, background and company, with a matching caption.

Each view has a random stream of its own, so view v of image i is always the same.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.data import grammar, scenes
from unnoise.data.augment import BACKGROUNDS, Augment, colour_of
from unnoise.data.dataset import WHITE, ImageDataset, PixelArray
from unnoise.data.decode import is_transparent, with_alpha
from unnoise.data.made_up import with_made_up_words
from unnoise.data.recolour import COLOURS, dominant_hue, recoloured
from unnoise.diffusion.noise import numbers

VIEW, WORDS = 3, 12  # first coordinates of the random streams of this file
STILL: scenes.Place = (0.0, 0.0, 1.0)  # the place of an image that is not moved
PLAIN = WHITE  # no pair of a name and this background is held out
TRIES = 100  # draws of another image for a scene, after which the last one is taken: all may have one name
NAME = 0.7  # share of the principal name among the phrasings of a caption
SMALL, LARGE = (0.5, 0.65), (1.1, 1.14)  # ranges of scale
HUES = {name: hue for name, (hue, _, _) in COLOURS.items() if hue is not None and name not in ("pink", "brown")}


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image in a view: its place, and a colour of `recolour.COLOURS` that its dominant hue changes to."""

    index: int
    place: scenes.Place = STILL
    colour: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A variation of image `index`: its caption, the background, and the things on it, the last one on top."""

    index: int
    caption: str
    background: str = PLAIN
    things: tuple[PlacedImage, ...] = ()

    @property
    def shown(self) -> tuple[PlacedImage, ...]:
        """The things; the image itself, as it is, where none are listed."""
        return self.things or (PlacedImage(self.index),)


def plain_view(dataset: ImageDataset, i: int) -> View:
    """Return the image as it is, with its principal caption."""
    return View(i, dataset.captions[i][0], dataset.background)


def held_out(name: str, word: str) -> bool:
    """Return whether training leaves out a name with a background or a colour: 5 % of the pairs, by a fixed hash."""
    total = sum(ord(letter) * (i + 1) for i, letter in enumerate(f"{name} on {word}"))
    return word != PLAIN and total % 20 == 0


def random_view(
    dataset: ImageDataset, i: int, view: int, seed: int, augment: Augment, transparent: bool | None = None
) -> View:
    """Return view number `view` of image i. transparent: whether it has such pixels; None reads it where it matters."""
    if augment.none and len(dataset.captions[i]) == 1:
        return plain_view(dataset, i)
    stream = numbers(seed, VIEW, i, view)
    if transparent is None and (augment.scene or augment.background):
        transparent = is_transparent(dataset.read(i))
    if transparent and stream.random() < augment.scene:
        caption, things = _scene(dataset, i, stream, augment)
    else:
        caption, things = _single(dataset, i, stream, augment)
    caption = _phrased(dataset, i, caption, stream, augment)
    background = dataset.background
    if transparent and stream.random() < augment.background:
        names = {dataset.captions[thing.index][0] for thing in things}
        background = _one(stream, [c for c in BACKGROUNDS if not any(held_out(name, c) for name in names)])
        caption = grammar.on_background(_one(stream, grammar.ON_BACKGROUND), caption, background)
    if stream.random() < augment.unknown:  # last: what a view shows does not depend on it
        caption = with_made_up_words(caption, dataset.captions, stream)
    return View(i, caption, background, () if things == (PlacedImage(i),) else things)


def other_caption(dataset: ImageDataset, drawn: View, stream: np.random.Generator, augment: Augment) -> str:
    """Draw another caption of what a view shows; that of a scene stays, and one that would name another image."""
    if len(drawn.shown) > 1:
        return drawn.caption
    thing, word = drawn.shown[0], _noun(dataset, drawn.index, stream, augment)
    noun = grammar.described(word, thing.colour)
    if noun != word and noun in dataset.names:
        return drawn.caption
    scale = thing.place[2]
    if scale <= SMALL[1] or scale > 1 + augment.scale:
        noun = grammar.described(noun, size=_one(stream, grammar.SMALL if scale < 1 else grammar.LARGE))
    caption = _phrased(dataset, drawn.index, noun, stream, augment)
    if drawn.background != dataset.background:
        caption = grammar.on_background(_one(stream, grammar.ON_BACKGROUND), caption, drawn.background)
    if stream.random() < augment.unknown:
        caption = with_made_up_words(caption, dataset.captions, stream)
    return caption


def _phrased(dataset: ImageDataset, i: int, noun: str, stream: np.random.Generator, augment: Augment) -> str:
    """Put a noun into a phrase, and name the style of image i."""
    if stream.random() < augment.phrase:
        noun = grammar.phrase(_one(stream, grammar.phrases_for(noun)), noun)
    if dataset.styles and stream.random() < augment.style:
        noun = _one(stream, grammar.IN_STYLE).format(noun, dataset.styles[i])
    return noun


def _one(stream: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(stream.integers(len(choices)))]


def _noun(dataset: ImageDataset, i: int, stream: np.random.Generator, augment: Augment) -> str:
    """Return a word for an image: its name, another phrasing, or a keyword."""
    if dataset.keywords and dataset.keywords[i] and stream.random() < augment.keywords:
        words = dataset.keywords[i]
        return words[int(stream.choice(len(words), p=dataset.keyword_shares[i]))]
    names = dataset.captions[i]
    return names[0] if stream.random() < NAME else _one(stream, names)


def _single(
    dataset: ImageDataset, i: int, stream: np.random.Generator, augment: Augment
) -> tuple[str, tuple[PlacedImage, ...]]:
    """Draw the view of one image: its word with the adjectives that are true of it."""
    noun, thing = _noun(dataset, i, stream, augment), PlacedImage(i)
    if stream.random() < augment.hue:
        noun, thing = _swap_colour(dataset, noun, thing, stream)
    if stream.random() < augment.recolour:
        noun, thing = _painted(dataset, noun, thing, stream)
    if stream.random() < augment.resize:
        small = stream.random() < 0.6
        low, high = SMALL if small else LARGE
        noun = grammar.described(noun, size=_one(stream, grammar.SMALL if small else grammar.LARGE))
        thing = replace(thing, place=(0.0, 0.0, float(stream.uniform(low, high))))
    elif stream.random() < augment.move:
        right, down, scale = stream.uniform(-1, 1, 3) * (augment.shift, augment.shift, augment.scale)
        thing = replace(thing, place=(float(right), float(down), 1 + float(scale)))
    return noun, (thing,)


def _swap_colour(
    dataset: ImageDataset, noun: str, thing: PlacedImage, stream: np.random.Generator
) -> tuple[str, PlacedImage]:
    """Replace the colour word of a name, unless another image has that name or the image no dominant hue."""
    found = re.search(rf"\b({'|'.join(HUES)})\b", noun)
    if not found:
        return noun, thing
    name = dataset.captions[thing.index][0]
    new = _one(stream, [colour for colour in HUES if not held_out(name, colour)])
    other = noun.replace(found[1], new, 1)
    if new == found[1] or other in dataset.names or dominant_hue(with_alpha(dataset.read(thing.index))) is None:
        return noun, thing
    return other, replace(thing, colour=new)


def _painted(
    dataset: ImageDataset, noun: str, thing: PlacedImage, stream: np.random.Generator
) -> tuple[str, PlacedImage]:
    """Give an image with a dominant hue another colour, named in its caption."""
    name = dataset.captions[thing.index][0]
    colour = _one(stream, [c for c in COLOURS if not held_out(name, c)])
    if dominant_hue(with_alpha(dataset.read(thing.index))) is None:
        return noun, thing
    described = grammar.described(noun, colour)
    if described != noun and described in dataset.names:
        return noun, thing
    return described, replace(thing, colour=colour)


def _scene(
    dataset: ImageDataset, i: int, stream: np.random.Generator, augment: Augment
) -> tuple[str, tuple[PlacedImage, ...]]:
    """Draw two or three things of one style."""
    kind = stream.random()
    first, one = _coloured(dataset, i, stream, augment)
    if kind < scenes.COUNT and grammar.counted(first):
        count = 2 if stream.random() < 0.5 else 3
        places = scenes.COUNTS[count][1]
        return scenes.several(first, count), tuple(replace(one, place=_near(place, stream)) for place in places)
    other = _companion(dataset, [i], stream)
    second, two = _coloured(dataset, other, stream, augment)
    if kind < scenes.COUNT + scenes.PAIR:
        relation, words = scenes.draw_relation(stream)
        places = (relation.first, relation.second)
        things = tuple(replace(t, place=_near(place, stream)) for t, place in zip((one, two), places, strict=True))
        return scenes.arranged(relation, words, first, second), things
    last = _companion(dataset, [i, other], stream)
    third, three = _coloured(dataset, last, stream, augment)
    things = tuple(
        replace(t, place=_near(place, stream)) for t, place in zip((one, two, three), scenes.THREE, strict=True)
    )
    return scenes.together([first, second, third]), things


def _coloured(dataset: ImageDataset, i: int, stream: np.random.Generator, augment: Augment) -> tuple[str, PlacedImage]:
    noun, thing = _noun(dataset, i, stream, augment), PlacedImage(i)
    return _painted(dataset, noun, thing, stream) if stream.random() < augment.recolour else (noun, thing)


def _companion(dataset: ImageDataset, images: Sequence[int], stream: np.random.Generator) -> int:
    """Draw another transparent image of the style, none of whose pairs of names with those of a scene is held out.

    Where there is none, it is the first image of the scene.
    """
    choices = dataset.of_style[dataset.styles[images[0]] if dataset.styles else ""]
    names = [dataset.captions[i][0] for i in images]
    other = images[0]
    for _ in range(TRIES):
        drawn = int(choices[int(stream.integers(len(choices)))])
        if not is_transparent(dataset.read(drawn)):
            continue
        other, own = drawn, dataset.captions[drawn][0]
        if not any(name == own or scenes.pair_held_out(name, own) for name in names):
            break
    return other


def _near(place: scenes.Place, stream: np.random.Generator) -> scenes.Place:
    """Return a place that is moved a little: 2 % of the side, 4 % of the scale."""
    right, down, scale = stream.uniform(-1, 1, 3) * (0.02, 0.02, 0.04)
    return place[0] + float(right), place[1] + float(down), place[2] * (1 + float(scale))


def render_views(dataset: ImageDataset, views: Sequence[View]) -> Tensor:
    """Compute the pixels of views: (B, 3, H, W) in [-1, 1]."""
    return render([dataset.read(view.index) for view in views], views, dataset.read)


def render(
    pixels: Sequence[PixelArray],
    views: Sequence[View],
    read: Callable[[int], PixelArray],
    device: torch.device | None = None,
) -> Tensor:
    """Compute views of decoded images: (B, 3, H, W) in [-1, 1].

    Args:
        pixels: of the image `index` of each view: (H, W, 3), opaque, or (H, W, 4) uint8.
        views: of each.
        read: returns another image of a scene.
        device: where they are computed; the CPU if None.
    """
    if all(not view.things for view in views) and all(p.shape[2] == 3 for p in pixels):
        plain = torch.from_numpy(np.stack(pixels)).to(device).permute(0, 3, 1, 2).float()
        return plain.div_(127.5).sub_(1)
    colours = torch.tensor([colour_of(view.background) for view in views], device=device).float()
    height, width = pixels[0].shape[:2]
    images = (colours / 255)[:, :, None, None].expand(-1, -1, height, width).clone()
    for image, own, view in zip(images, pixels, views, strict=True):
        for thing in view.shown:
            _put(image, own if thing.index == view.index else read(thing.index), thing)
    return images.mul_(2).sub_(1)


def _put(image: Tensor, pixels: PixelArray, thing: PlacedImage) -> None:
    """Put a thing over an image. image: (3, H, W) in [0, 1], changed."""
    raw = with_alpha(pixels)
    rgba = torch.from_numpy(np.array(recoloured(raw, thing.colour) if thing.colour else raw))
    rgba = rgba.to(image.device).permute(2, 0, 1).float().div_(255)
    layer = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
    if thing.place == STILL:
        image.mul_(1 - layer[3:]).add_(layer[:3])
        return
    right, down, scale = thing.place
    height, width = image.shape[1:]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if size != (height, width):
        layer = F.interpolate(layer[None], size=size, mode="bilinear", antialias=True)[0]
    top, left = round((height - size[0]) / 2 + down * height), round((width - size[1]) / 2 + right * width)
    rows, columns = (
        _within(first, length, side) for first, length, side in ((top, size[0], height), (left, size[1], width))
    )
    layer = layer[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    image[:, rows, columns] = image[:, rows, columns] * (1 - layer[3:]) + layer[:3]


def _within(first: int, length: int, side: int) -> slice:
    """Return the part of `length` pixels from `first` on that is within 0 to side."""
    return slice(min(max(first, 0), side), min(max(first + length, 0), side))
