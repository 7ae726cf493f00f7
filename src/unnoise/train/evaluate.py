"""Measure a model against a data set: figures, and contact sheets of the generated images.

    named        share of prompts, names of images, for which the named image is the nearest of all images on white
    background   share of prompts "NAME on a COLOUR background", pairs that training left out, with a border of that
                 colour
    ratio        median of (distance to the nearest image) / (distance to the next): near 0 for a copy, near 1 for a
                 new image
                 Source: Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to memorize"

Distance is the Euclidean distance between images reduced to 16 x 16 means of RGB.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.data.augment import BACKGROUNDS
from unnoise.data.view import View, held_out, render_views
from unnoise.diffusion.noise import numbers
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent

CHOOSE = 5  # first coordinate of the random stream that chooses prompts
CELLS = 16  # of a reduced image, along each side
BORDER = 2  # pixels
BATCH = 32
COLUMNS = 12  # of a sheet

Choice = Literal["picture", "concept"]
ProgressCallback = Callable[[float], None]  # the share that is done, 0 to 1
ImageGenerator = Callable[[Sequence[str]], Tensor]  # prompts -> one image each: (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """The share of correct prompts, the median ratio, and a contact sheet."""

    share: float
    ratio: float
    sheet: Image.Image


def image_generator(
    pipeline: Pipeline,
    seed: int,
    callback: ProgressCallback,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
    sampler: str | None = None,
    schedule: str | None = None,
) -> ImageGenerator:
    """Return a function that generates an image of each prompt; settings that are None are those of the card."""

    draw = partial(pipeline.generate, seed=seed, batch=BATCH, progress=False)

    def generate(prompts: Sequence[str]) -> Tensor:
        images: list[Tensor] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            samples = draw(part, steps=steps, guidance_scale=guidance_scale, sampler=sampler, schedule=schedule)
            pixels = (torch.from_numpy(np.array(sample.image.convert("RGB"))) for sample in samples)
            images += [image.permute(2, 0, 1).float() / 127.5 - 1 for image in pixels]
            callback(len(images) / len(prompts))
        return torch.stack(images)

    return generate


def evaluate(
    generator: Callable[[ProgressCallback], ImageGenerator],
    dataset: ImageDataset,
    n: int,
    seed: int,
    bar: Callable[[str], AbstractContextManager[ProgressCallback]],
) -> tuple[dict[str, float], dict[str, Image.Image]]:
    """Compute every figure that the data set allows, each over n images, and contact sheets, both by name.

    Args:
        generator: `image_generator` of the model, without its callback.
        bar: opens a progress bar with a label.
    """
    values: dict[str, float] = {}
    sheets: dict[str, Image.Image] = {}
    for by in get_args(Choice):
        indices = choose_images(dataset, n, seed, by)
        with bar(f"names by {by}") as callback:
            named = evaluate_names(generator(callback), dataset, indices)
        values |= {f"named_by_{by}": named.share, f"ratio_by_{by}": named.ratio}
        sheets[f"names-by-{by}"] = named.sheet
    if dataset.name == "emoji":
        with bar("backgrounds") as callback:
            pairs = evaluate_backgrounds(generator(callback), dataset, n, seed)
        values |= {"background": pairs.share, "background_ratio": pairs.ratio}
        sheets["backgrounds"] = pairs.sheet
    return values, sheets


def originals(dataset: ImageDataset) -> Tensor:
    """Return every image on white: (N, 3, H, W) in [-1, 1]."""
    every = [View(i, "") for i in range(len(dataset))]
    return torch.cat([render_views(dataset, every[i : i + BATCH]) for i in range(0, len(every), BATCH)])


def distances(images: Tensor, others: Tensor) -> Tensor:
    """Return the distance of each image (B, 3, H, W) to each of `others` (N, 3, H, W): (B, N)."""
    few, many = (F.adaptive_avg_pool2d(x, CELLS).flatten(1) for x in (images, others))
    return torch.cdist(few, many)


def choose_images(dataset: ImageDataset, count: int, seed: int, by: Choice) -> list[int]:
    """Choose random images: by "picture" from all images, by "concept" a concept and then one of its variants."""
    stream = numbers(seed, CHOOSE, 0)
    if by == "picture":
        return [int(i) for i in stream.permutation(len(dataset))[:count]]
    concepts = stream.permutation(len(dataset.members))[:count]
    return [int(stream.choice(dataset.members[concept])) for concept in concepts]


def evaluate_names(generate: ImageGenerator, dataset: ImageDataset, indices: Sequence[int]) -> Figure:
    """Generate images by name, and count those whose nearest image is the named one. The sheet shows all three."""
    names = [phrasings[0] for phrasings in dataset.captions]
    prompts = [names[i] for i in indices]
    generated, whole = generate(prompts), originals(dataset)
    near = distances(generated, whole).topk(2, largest=False)
    nearest = near.indices[:, 0].tolist()
    correct = [i == k for i, k in zip(indices, nearest, strict=True)]
    columns = [to_images(part.clamp(-1, 1)) for part in (generated, whole[list(indices)], whole[nearest])]
    captions = [(prompt, "data set", f"nearest: {names[k]}") for prompt, k in zip(prompts, nearest, strict=True)]
    images = [*chain.from_iterable(zip(*columns, strict=True))]
    share = sum(correct) / len(correct)
    title = f"{dataset.name}: {share:.1%} of {len(prompts)} generated images are nearest to the named one"
    return Figure(share, _ratio(near.values), contact_sheet(images, [*chain.from_iterable(captions)], title, COLUMNS))


def evaluate_backgrounds(generate: ImageGenerator, dataset: ImageDataset, count: int, seed: int) -> Figure:
    """Generate pairs of name and background that training left out, and compare the border with the background."""
    names = [phrasings[0] for phrasings in dataset.captions]
    pairs = [(name, colour) for name in names for colour in BACKGROUNDS if held_out(name, colour)]
    chosen = [pairs[k] for k in numbers(seed, CHOOSE, 1).permutation(len(pairs))[:count]]
    prompts = [f"{name} on a {colour} background" for name, colour in chosen]
    generated = generate(prompts)
    table = torch.tensor(list(BACKGROUNDS.values())).float() / 127.5 - 1
    found = torch.cdist(border_colour(generated), table).argmin(dim=1)
    share = float((found == torch.tensor([list(BACKGROUNDS).index(colour) for _, colour in chosen])).float().mean())
    views = [View(i, "", colour) for i in range(len(dataset)) for colour in sorted({colour for _, colour in chosen})]
    title = f"{dataset.name}: {share:.1%} of {len(prompts)} borders have the colour of the prompt"
    sheet = contact_sheet(to_images(generated), prompts, title, COLUMNS)
    return Figure(share, _ratio(_nearest_two(generated, dataset, views)), sheet)


def border_colour(images: Tensor) -> Tensor:
    """Return the median colour of the outermost pixels: (B, 3, H, W) -> (B, 3)."""
    inner = torch.ones(images.shape[2:], dtype=torch.bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = False
    return images[:, :, inner].median(dim=2).values


@torch.no_grad()
def reconstruction_psnr(components: Components, dataset: ImageDataset) -> float | None:
    """Return the mean PSNR in dB, peak 1, of the autoencoder over every image on white; None without autoencoder."""
    if not isinstance(components.space, Latent):
        return None
    space, found = components.space, []
    for data in originals(dataset).split(BATCH):
        error = ((space.decode(space.encode(data.to(components.device))).cpu() - data) / 2).square().flatten(1).mean(1)
        found.append(-10 * error.log10())
    return float(torch.cat(found).mean())


def _nearest_two(images: Tensor, dataset: ImageDataset, views: list[View]) -> Tensor:
    best = torch.full((len(images), 2), torch.inf)
    for at in range(0, len(views), 1024):
        far = distances(images, render_views(dataset, views[at : at + 1024]))
        best = torch.cat([best, far], dim=1).topk(2, largest=False).values
    return best


def _ratio(near: Tensor) -> float:
    return float((near[:, 0] / near[:, 1]).median())
