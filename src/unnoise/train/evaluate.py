"""Measure a model against a data set: figures, and contact sheets of the generated images.

    named        share of prompts, names of images, whose nearest image of all on white has that name
    styled       the same for prompts that name a style too, of a data set with styles: the share of that style
    background   share of prompts "NAME on a COLOUR background", pairs that training left out, with a border of that
                 colour
    ratio        median of (distance to the nearest image) / (distance to the next): near 0 for a copy, near 1 for a
                 new image
                 Source: Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to memorize"

Distance is the Euclidean distance between images of at most 64 x 64 pixels, blurred by one pixel.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unnoise.components import Components
from unnoise.data.augment import BACKGROUNDS
from unnoise.data.dataset import ImageDataset
from unnoise.data.view import View, held_out, render_views
from unnoise.diffusion.noise import numbers
from unnoise.generation.decode import to_images
from unnoise.generation.images import image_tensor
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.generation.request import request_of
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent

CHOOSE = 5  # first coordinate of the random stream that chooses prompts
SIDE = 64  # of a compared image, at most
BLUR = (0.25, 0.5, 0.25)  # a binomial kernel along each axis
BORDER = 2  # pixels
BATCH = 32
VIEWS = 512  # that are compared at once
COLUMNS = 12  # of a sheet

Choice = Literal["picture", "concept"]
ProgressCallback = Callable[[float], None]  # the share that is done, 0 to 1
ImageGenerator = Callable[[Sequence[str]], Tensor]  # prompts -> one image each: (B, 3, H, W) in [-1, 1]


@dataclass(frozen=True, slots=True)
class Figure:
    """The share of correct prompts, the median ratio, a contact sheet, and the share of the style that was named."""

    share: float
    ratio: float
    sheet: Image.Image
    styled: float | None = None


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
    """Return a function that generates an image of each prompt, prompt k from seed + k.

    Settings that are None are those of the card.
    """
    settings = {"steps": steps, "guidance_scale": guidance_scale, "sampler": sampler, "schedule": schedule}

    def generate(prompts: Sequence[str]) -> Tensor:
        samples = draw_each(pipeline, prompts, seed, callback, **settings)
        return torch.cat([image_tensor(sample.image) for sample in samples])

    return generate


def draw_each(
    pipeline: Pipeline, prompts: Sequence[str], seed: int, callback: ProgressCallback, **settings: Any
) -> list[Sample]:
    """Draw one sample of each prompt, prompt k from seed + k, so that each has noise of its own.

    settings: options of `Pipeline.generate`.
    """
    samples: list[Sample] = []
    for start in range(0, len(prompts), BATCH):
        part = enumerate(prompts[start : start + BATCH], seed + start)
        samples += pipeline.run(
            *(request_of(text, seed=own, batch=BATCH, progress=False, **settings) for own, text in part)
        )
        callback(len(samples) / len(prompts))
    return samples


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
            named = evaluate_names(generator(callback), dataset, indices, by)
        values |= {f"named_by_{by}": named.share, f"ratio_by_{by}": named.ratio}
        if named.styled is not None:
            values["styled"] = named.styled
        sheets[f"names-by-{by}"] = named.sheet
    if dataset.name == "emoji":
        with bar("backgrounds") as callback:
            pairs = evaluate_backgrounds(generator(callback), dataset, n, seed)
        values |= {"background": pairs.share, "background_ratio": pairs.ratio}
        sheets["backgrounds"] = pairs.sheet
    return values, sheets


def originals(dataset: ImageDataset) -> Iterator[Tensor]:
    """Return every image on white, in batches: (B, 3, H, W) in [-1, 1]."""
    for start in range(0, len(dataset), BATCH):
        yield render_views(dataset, [View(i, "") for i in range(start, min(start + BATCH, len(dataset)))])


def compared(images: Tensor) -> Tensor:
    """Reduce images to at most 64 x 64 pixels and blur them by one pixel: (B, 3, H, W) -> (B, N)."""
    height, width = images.shape[2:]
    small = F.adaptive_avg_pool2d(images, (min(SIDE, height), min(SIDE, width)))
    kernel = torch.tensor(BLUR).outer(torch.tensor(BLUR)).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), kernel, groups=3).flatten(1)


def nearest(images: Tensor, dataset: ImageDataset, views: Sequence[View], count: int = 2) -> tuple[Tensor, Tensor]:
    """Find the nearest views of each image (B, 3, H, W): distances and numbers of views, (B, count), nearest first."""
    own = compared(images)
    far, numbers_of = torch.empty(len(images), 0), torch.empty(len(images), 0, dtype=torch.long)
    for at in range(0, len(views), VIEWS):
        part = compared(render_views(dataset, views[at : at + VIEWS]))
        far = torch.cat([far, torch.cdist(own, part)], dim=1)
        numbers_of = torch.cat([numbers_of, torch.arange(at, at + len(part)).expand(len(images), -1)], dim=1)
        far, order = far.topk(min(count, far.shape[1]), largest=False)
        numbers_of = numbers_of.gather(1, order)
    return far, numbers_of


def choose_images(dataset: ImageDataset, count: int, seed: int, by: Choice) -> list[int]:
    """Choose random images: by "picture" from all images, by "concept" a concept and then one of its variants."""
    stream = numbers(seed, CHOOSE, 0)
    if by == "picture":
        return [int(i) for i in stream.permutation(len(dataset))[:count]]
    concepts = stream.permutation(len(dataset.members))[:count]
    return [int(stream.choice(dataset.members[concept])) for concept in concepts]


def evaluate_names(
    generate: ImageGenerator, dataset: ImageDataset, indices: Sequence[int], by: Choice = "concept"
) -> Figure:
    """Generate images by name, and count those whose nearest image has the name. The sheet shows all three.

    By "picture" a prompt names the style too, where the data set has styles, and the nearest image must have both.
    """
    names = [phrasings[0] for phrasings in dataset.captions]
    styles = dataset.styles if by == "picture" else ()
    wanted = [f"{names[i]}, {styles[i]} style" if styles else names[i] for i in indices]
    generated = generate(wanted)
    far, found = nearest(generated, dataset, [View(i, "") for i in range(len(dataset))])
    closest = found[:, 0].tolist()
    styled = [styles[i] == styles[k] for i, k in zip(indices, closest, strict=True)] if styles else []
    correct = [names[i] == names[k] for i, k in zip(indices, closest, strict=True)]
    if styles:
        correct = [name and style for name, style in zip(correct, styled, strict=True)]
    shown = (render_views(dataset, [View(i, "") for i in rows]) for rows in (indices, closest))
    columns = [to_images(part.clamp(-1, 1)) for part in (generated, *shown)]
    captions = [(prompt, "data set", f"nearest: {names[k]}") for prompt, k in zip(wanted, closest, strict=True)]
    images = [*chain.from_iterable(zip(*columns, strict=True))]
    share = _share(correct)
    title = f"{dataset.name}: {share:.1%} of {len(wanted)} generated images are nearest to the named one"
    sheet = contact_sheet(images, [*chain.from_iterable(captions)], title, COLUMNS)
    return Figure(share, _ratio(far), sheet, _share(styled) if styled else None)


def evaluate_backgrounds(generate: ImageGenerator, dataset: ImageDataset, count: int, seed: int) -> Figure:
    """Generate pairs of name and background that training left out, and compare the border with the background."""
    names = dict.fromkeys(phrasings[0] for phrasings in dataset.captions)
    pairs = [(name, colour) for name in names for colour in BACKGROUNDS if held_out(name, colour)]
    chosen = [pairs[k] for k in numbers(seed, CHOOSE, 1).permutation(len(pairs))[:count]]
    prompts = [f"{name} on a {colour} background" for name, colour in chosen]
    generated = generate(prompts)
    share = _share([found == colour for found, (_, colour) in zip(border_names(generated), chosen, strict=True)])
    far = []
    for wanted in sorted({colour for _, colour in chosen}):
        rows = [k for k, (_, colour) in enumerate(chosen) if colour == wanted]
        far.append(nearest(generated[rows], dataset, [View(i, "", wanted) for i in range(len(dataset))])[0])
    title = f"{dataset.name}: {share:.1%} of {len(prompts)} borders have the colour of the prompt"
    return Figure(share, _ratio(torch.cat(far)), contact_sheet(to_images(generated), prompts, title, COLUMNS))


def border_names(images: Tensor) -> list[str]:
    """Return the background of each image (B, 3, H, W) that is nearest to the colour of its border."""
    table = torch.tensor(list(BACKGROUNDS.values())).float() / 127.5 - 1
    return [list(BACKGROUNDS)[k] for k in torch.cdist(border_colour(images), table).argmin(dim=1).tolist()]


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
    for data in originals(dataset):
        error = ((space.decode(space.encode(data.to(components.device))).cpu() - data) / 2).square().flatten(1).mean(1)
        found.append(-10 * error.log10())
    return float(torch.cat(found).mean())


def _share(correct: Sequence[bool]) -> float:
    return sum(correct) / len(correct)


def _ratio(near: Tensor) -> float:
    return float((near[:, 0] / near[:, 1]).median())
