"""How well a model draws what the pictures of a data set are called: figures with a definition, and a sheet to look at.

    named        the nearest of all pictures on white is the one whose name was the prompt
    background   the border of "NAME on a COLOUR background" is nearest to that colour, for pairs kept out of training
    ratio        distance to the nearest picture / distance to the next: a copy is near 0, a picture of its own near 1
                 Source: Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to memorize"

Distance is Euclid's between pictures reduced to 16 x 16 means of RGB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.data.view import BACKGROUNDS, View, held_out, pixels_of
from unnoise.diffusion.noise import numbers
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent
from unnoise.train.sheet import grid_of

CHOOSE = 5  # the first coordinate of the stream that chooses what is asked
CELLS = 16  # of a reduced picture, along each side
BORDER = 2  # pixels
BATCH = 32
COLUMNS = 16  # of a sheet

Drawer = Callable[[Sequence[str]], Tensor]  # prompts to one picture each: (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """The share of prompts that came out right, the median ratio, and the pictures."""

    share: float
    ratio: float
    sheet: Image.Image


def drawer(
    pipeline: Pipeline,
    seed: int,
    watch: Callable[[float], None],
    *,
    steps: int | None = None,
    weight: float | None = None,
    sampler: str | None = None,
) -> Drawer:
    """Draw with a model, with its card's advice where nothing else is said; watch(share) is called after each batch."""

    def draw(prompts: Sequence[str]) -> Tensor:
        made: list[Tensor] = []
        for at in range(0, len(prompts), BATCH):
            part = prompts[at : at + BATCH]
            samples = pipeline.generate(part, seed=seed, batch=BATCH, steps=steps, weight=weight, sampler=sampler)
            pixels = (torch.from_numpy(np.array(sample.image.convert("RGB"))) for sample in samples)
            made += [one.permute(2, 0, 1).float() / 127.5 - 1 for one in pixels]
            watch(len(made) / len(prompts))
        return torch.stack(made)

    return draw


def originals(source: ImageDataset) -> Tensor:
    """Paint every picture on white: (N, 3, H, W) in [-1, 1]."""
    every = [View(i, "") for i in range(len(source))]
    return torch.cat([pixels_of(source, every[i : i + BATCH]) for i in range(0, len(every), BATCH)])


def distances(pictures: Tensor, to: Tensor) -> Tensor:
    """Give the distance of each picture (B, 3, H, W) to each of `to` (N, 3, H, W): (B, N)."""
    few, many = (F.adaptive_avg_pool2d(x, CELLS).flatten(1) for x in (pictures, to))
    return torch.cdist(few, many)


def chosen_pictures(source: ImageDataset, count: int, seed: int, by: Literal["picture", "concept"]) -> list[int]:
    """Choose pictures: `by` "picture" each is equally likely, by "concept" each concept, then each of its variants."""
    stream = numbers(seed, CHOOSE, 0)
    if by == "picture":
        return [int(i) for i in stream.permutation(len(source))[:count]]
    concepts = stream.permutation(len(source.members))[:count]
    return [int(stream.choice(source.members[concept])) for concept in concepts]


def names(draw: Drawer, source: ImageDataset, picked: Sequence[int]) -> Figure:
    """Draw the pictures that are named, and see which picture each comes closest to.

    The sheet shows them in rows of three: generated, named, nearest.
    """
    made = draw([source.captions[i][0] for i in picked])
    whole = originals(source)
    apart = distances(made, whole)
    near = apart.topk(2, largest=False)
    right = near.indices[:, 0] == torch.tensor(picked)
    sheet = grid_of(_threes(made, whole[list(picked)], whole[near.indices[:, 0]]), COLUMNS)
    return Figure(float(right.float().mean()), _ratio(near.values), sheet)


def backgrounds(draw: Drawer, source: ImageDataset, count: int, seed: int) -> Figure:
    """Draw pairs of name and background that training left out, and look at the border."""
    names = [phrasings[0] for phrasings in source.captions]
    pairs = [(name, colour) for name in names for colour in BACKGROUNDS if held_out(name, colour)]
    picked = [pairs[k] for k in numbers(seed, CHOOSE, 1).permutation(len(pairs))[:count]]
    made = draw([f"{name} on a {colour} background" for name, colour in picked])
    table = torch.tensor(list(BACKGROUNDS.values())).float() / 127.5 - 1
    found = torch.cdist(border(made), table).argmin(dim=1)
    right = found == torch.tensor([list(BACKGROUNDS).index(colour) for _, colour in picked])
    views = [View(i, "", colour) for i in range(len(source)) for colour in sorted({colour for _, colour in picked})]
    near = _nearest_two(made, source, views)
    return Figure(float(right.float().mean()), _ratio(near), grid_of(made, COLUMNS))


def border(pictures: Tensor) -> Tensor:
    """Give the median colour of the outermost pixels: (B, 3, H, W) -> (B, 3)."""
    inner = torch.ones(pictures.shape[2:], dtype=torch.bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = False
    return pictures[:, :, inner].median(dim=2).values


@torch.no_grad()
def reconstruction(pipeline: Pipeline, source: ImageDataset) -> float | None:
    """Give the mean PSNR in dB of the autoencoder over every picture on white, peak 1; None where there is none."""
    if not isinstance(pipeline.space, Latent):
        return None
    space, found = pipeline.space, []
    for data in originals(source).split(BATCH):
        error = ((space.decode(space.encode(data)) - data) / 2).square().flatten(1).mean(1)
        found.append(-10 * error.log10())
    return float(torch.cat(found).mean())


def _threes(*parts: Tensor) -> Tensor:
    """Order three stacks of pictures for a sheet in which a row of each follows a row of the one before."""
    white = parts[0].new_ones(-len(parts[0]) % COLUMNS, *parts[0].shape[1:])
    rows = zip(*(torch.cat([part, white]).split(COLUMNS) for part in parts), strict=True)
    return torch.cat([torch.cat(row) for row in rows])


def _nearest_two(made: Tensor, source: ImageDataset, views: list[View]) -> Tensor:
    best = torch.full((len(made), 2), torch.inf)
    for at in range(0, len(views), 1024):
        apart = distances(made, pixels_of(source, views[at : at + 1024]))
        best = torch.cat([best, apart], dim=1).topk(2, largest=False).values
    return best


def _ratio(near: Tensor) -> float:
    return float((near[:, 0] / near[:, 1]).median())
