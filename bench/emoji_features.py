"""A judge of emoji: a small classifier of name, style and colour, trained here on the real pictures.

It is trained on views with random places, backgrounds and colours, and on the things cut out of scenes of two, and is
measured on other views of the same pictures. Its last hidden layer of 128 numbers is the feature of an image.

    python bench/emoji_features.py [FOLDER]     trains it once, into FOLDER/judge.safetensors, and prints its accuracy
"""

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unnoise.data import scenes
from unnoise.data.augment import BACKGROUNDS
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.recolour import COLOURS, dominant_hue
from unnoise.data.view import PLAIN, STILL, PlacedImage, View, render_views
from unnoise.diffusion.noise import numbers
from unnoise.estimate.bfloat16 import bfloat16
from unnoise.formats.header import read_header
from unnoise.train.muon import Muon

JUDGE: Final = 11  # first coordinate of the random streams of this file
TRAIN, TEST = 0, 1  # second coordinate
BATCH, STEPS, FEATURES = 128, 1600, 128
RATES: Final = (0.02, 4e-3)  # of Muon for the hidden weights, and of AdamW for the rest
FOLDER: Final = Path("runs/bench")
HEADS: Final = ("name", "style", "colour")
WHOLE: Final = (0.0, 0.0, 1.0)
MARGIN: Final = 1.08  # of what is cut out around a thing
IGNORED: Final = -100  # of a label that is not known, as cross_entropy has it


@dataclass(frozen=True, slots=True)
class Sample:
    """A view, the place that is cut out of it, and what is there."""

    view: View
    place: scenes.Place
    name: int
    style: int
    colour: int = IGNORED


@dataclass(frozen=True)
class Labels:
    """The names, styles and colours that the judge tells apart, and which images can have another colour."""

    dataset: ImageDataset

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name, in alphabetical order."""
        return tuple(sorted({names[0] for names in self.dataset.captions}))

    @cached_property
    def styles(self) -> tuple[str, ...]:
        """Every style, in alphabetical order."""
        return tuple(sorted(set(self.dataset.styles)))

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each name."""
        return {name: k for k, name in enumerate(self.names)}

    @cached_property
    def has_hue(self) -> tuple[bool, ...]:
        """Whether each image has a dominant hue."""
        return tuple(dominant_hue(self.dataset.read(i)) is not None for i in range(len(self.dataset)))

    def sample(self, n: int, part: int) -> Sample:
        """Draw sample n of a part: an image in a place of its own, or one of two things of a scene."""
        stream = numbers(JUDGE, part, n)
        i = int(stream.integers(len(self.dataset)))
        thing, colour = self._painted(i, stream)
        background = PLAIN if stream.random() < 0.6 else [*BACKGROUNDS][int(stream.integers(len(BACKGROUNDS)))]
        name, style = self.number_of[self.dataset.captions[i][0]], self.styles.index(self.dataset.styles[i])
        kind = stream.random()
        if kind < 0.35:
            relation = scenes.draw_relation(stream)[0]
            places = [relation.first, relation.second][:: 1 if stream.random() < 0.5 else -1]
            other, _ = self._painted(int(stream.integers(len(self.dataset))), stream)
            things = tuple(_at(one, _near(place, stream)) for one, place in zip((thing, other), places, strict=True))
            return Sample(View(i, "", background, things), _near(places[0], stream), name, style, colour)
        scale = 1 + float(stream.uniform(-0.1, 0.12)) if kind < 0.8 else float(stream.uniform(0.5, 1.0))
        right, down = stream.uniform(-0.06, 0.06, 2)
        return Sample(View(i, "", background, (_at(thing, (right, down, scale)),)), WHOLE, name, style, colour)

    def _painted(self, i: int, stream: np.random.Generator) -> tuple[PlacedImage, int]:
        colour = int(stream.integers(len(COLOURS)))
        if not self.has_hue[i] or stream.random() < 0.6:
            return PlacedImage(i), IGNORED
        return PlacedImage(i, STILL, [*COLOURS][colour]), colour


def _at(thing: PlacedImage, place: scenes.Place) -> PlacedImage:
    return PlacedImage(thing.index, place, thing.colour)


def _near(place: scenes.Place, stream: np.random.Generator) -> scenes.Place:
    right, down, scale = stream.uniform(-1, 1, 3) * (0.03, 0.03, 0.08)
    return place[0] + float(right), place[1] + float(down), place[2] * (1 + float(scale))


def cut(images: Tensor, places: Sequence[scenes.Place]) -> Tensor:
    """Cut one place out of each image and enlarge it to the size of the image. images: (B, 3, H, W)."""
    sides = [scale if (right, down, scale) == WHOLE else scale * MARGIN for right, down, scale in places]
    maps = [[[s, 0, 2 * right], [0, s, 2 * down]] for s, (right, down, _) in zip(sides, places, strict=True)]
    grid = F.affine_grid(torch.tensor(maps), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _block(wide: int, wider: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU())


def _hidden(wide: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(wide, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU())


def _statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel: (B, C) each."""
    flat = maps.float().flatten(2)
    return flat.mean(2), (flat.var(2, correction=0) + 1e-5).sqrt()


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the judge finds in images: log probabilities of names (B, N), styles and colours, and features (B, 128)."""

    names: Tensor
    styles: Tensor
    colours: Tensor
    features: Tensor


class Judge(nn.Module):
    """A convolutional network of 1.3 M parameters with a head for each of name, style and colour.

    The style is how a thing is drawn: its lines, shades and textures. So it is read from the mean and the deviation of
    the finer maps, and the others from the mean of the coarsest.
    """

    def __init__(self, names: int, styles: int, colours: int = len(COLOURS)) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), _block(12, 48))
        self.middle = nn.Sequential(nn.MaxPool2d(2), _block(48, 96))
        self.coarse = nn.Sequential(nn.MaxPool2d(2), _block(96, 128), _block(128, 128))
        self.whole = nn.Sequential(nn.MaxPool2d(2), _block(128, 256), _block(256, 256))
        self.hidden, self.drawn = _hidden(256), _hidden(2 * (48 + 96 + 128))
        self.names, self.styles, self.colours = (nn.Linear(FEATURES, n) for n in (names, styles, colours))

    def forward(self, x: Tensor) -> Judged:
        """Judge images: (B, 3, 64, 64) in [-1, 1]."""
        fine = self.fine(x.contiguous(memory_format=torch.channels_last))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        features = self.hidden(self.whole(coarse).mean((2, 3)))
        drawn = self.drawn(torch.cat([part for maps in (fine, middle, coarse) for part in _statistics(maps)], 1))
        heads = (self.names(features), self.styles(drawn), self.colours(features))
        return Judged(*(head.float().log_softmax(1) for head in heads), features.float())

    @torch.no_grad()
    def judge(self, images: Tensor, batch: int = 256) -> Judged:
        """Judge any number of images."""
        parts = [self(part) for part in images.split(batch)]
        return Judged(*(torch.cat([getattr(one, field) for one in parts]) for field in Judged.__slots__))


def rendered(labels: Labels, samples: Sequence[Sample]) -> Tensor:
    """Compute the pixels of samples: (B, 3, 64, 64)."""
    return cut(render_views(labels.dataset, [one.view for one in samples]), [one.place for one in samples])


def _optimizers(net: Judge, steps: int) -> list[tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.OneCycleLR]]:
    parts = (net.fine, net.middle, net.coarse, net.whole, net.hidden, net.drawn)
    hidden = [weight for part in parts for weight in part.parameters() if weight.ndim > 1]
    rest = [weight for weight in net.parameters() if all(weight is not one for one in hidden)]
    pair = (Muon(hidden, RATES[0]), torch.optim.AdamW(rest, RATES[1], weight_decay=0.02))
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    return [(one, cycle(one, rate)) for one, rate in zip(pair, RATES, strict=True)]


def train_judge(labels: Labels, steps: int = STEPS, batch: int = BATCH) -> Judge:
    """Train a judge from scratch."""
    torch.manual_seed(0)
    net = Judge(len(labels.names), len(labels.styles)).to(memory_format=torch.channels_last)
    optimizers = _optimizers(net, steps)
    fast = not bfloat16().sums  # in hardware
    for step in range(steps):
        samples = [labels.sample(n, TRAIN) for n in range(step * batch, (step + 1) * batch)]
        images = rendered(labels, samples)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            found = net(images)
        name, style, colour = (torch.tensor([getattr(one, head) for one in samples]) for head in HEADS)
        loss = F.nll_loss(found.names, name) + F.nll_loss(found.styles, style)
        if (colour != IGNORED).any():
            loss = loss + 0.3 * F.nll_loss(found.colours, colour, ignore_index=IGNORED)
        loss.backward()
        for optimizer, schedule in optimizers:
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        if step % 100 == 99:
            print(f"judge: step {step + 1} of {steps}, loss {loss.item():.3f}", file=sys.stderr, flush=True)
    return net.eval()


@torch.no_grad()
def accuracy(net: Judge, labels: Labels, count: int = 2048) -> dict[str, float]:
    """Return the shares of right names, styles and colours over held-out views, whole and cut out."""
    samples = [labels.sample(n, TEST) for n in range(count)]
    found = net.judge(torch.cat([rendered(labels, samples[k : k + 256]) for k in range(0, count, 256)]))
    whole = torch.tensor([one.place == WHOLE for one in samples])
    figures = {}
    for head, scores in zip(HEADS, (found.names, found.styles, found.colours), strict=True):
        wanted = torch.tensor([getattr(one, head) for one in samples])
        right = (scores.argmax(1) == wanted).float()
        for where, rows in (("whole", whole), ("cut out", ~whole)):
            figures[f"{head}, {where}"] = float(right[rows & (wanted != IGNORED)].mean())
    return figures


def judge_key(labels: Labels) -> str:
    """Hash what decides a judge: the images with their names and styles, its layers, and how it is trained."""
    dataset = labels.dataset
    with torch.device("meta"):
        layers = [(name, tuple(weight.shape)) for name, weight in Judge(1, 1).state_dict().items()]
    facts = (dataset.captions, dataset.styles, COLOURS, BACKGROUNDS, scenes.RELATIONS, scenes.SHARES)
    digest = hashlib.sha256(repr((*facts, layers, BATCH, STEPS, FEATURES, RATES, MARGIN)).encode())
    for i in range(len(dataset)):
        digest.update(hashlib.sha256(dataset.read(i).tobytes()).digest())
    return digest.hexdigest()


def trained_judge(labels: Labels, folder: Path = FOLDER) -> Judge:
    """Read the judge of a folder, or train it and write it there; one of other images is trained again."""
    path, key = folder / "judge.safetensors", judge_key(labels)
    if not path.exists() or read_header(path).metadata.get("key") != key:
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.contiguous() for name, weight in train_judge(labels).state_dict().items()}
        save_file(weights, path, {"key": key})
    net = Judge(len(labels.names), len(labels.styles))
    net.load_state_dict(load_file(path))
    return net.eval()


def main() -> None:
    """Train the judge, and print what it gets right."""
    labels, before = Labels(open_source("emoji", 64)), time.process_time()
    net = trained_judge(labels, Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
    print(f"{time.process_time() - before:.0f} CPU seconds")
    for name, share in accuracy(net, labels).items():
        print(f"{name:20} {share:.1%}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
