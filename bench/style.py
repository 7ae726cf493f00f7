"""Measure a style LoRA, the embedded `ink`, on prompts that it was not trained on; `make bench` prints the table.

    style    sliced Wasserstein-2 distance between the patches of 4 x 4 pixels of generated images and of held-out ink
             drawings, in units of the range from black to white
    named    share of images whose nearest image of the data set is the named one, as in `unnoise evaluate`; drawings in
             ink are compared with ink drawings

Lines alone distinguish few of the small images, so `named` is measured for three: for the base, for images of the base
that the script of the style redraws in ink, and for the base with the adapter.

    python bench/style.py [--lora FILE] [--prompts N] [--sheet FILE]
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import unfold

import unnoise
from unnoise.data.dataset import ImageDataset
from unnoise.data.noto import open_noto
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.train.evaluate import choose_images, compared, originals

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples/style"))
from make import COUNT, inked  # noqa: E402

SEED = 7
PROMPTS, BATCH, SHOWN = 256, 16, 12
PATCH, DIRECTIONS = 4, 64
POINTS = 200_000  # patches in a comparison


def held_out(dataset: ImageDataset, count: int) -> list[int]:
    """Choose images of concepts that the adapter was not trained on."""
    firsts = [members[0] for members in dataset.members]
    trained = {dataset.concepts[i] for i in firsts[:: len(firsts) // COUNT][:COUNT]}
    every = choose_images(dataset, len(dataset.members), SEED, "concept")
    return [i for i in every if dataset.concepts[i] not in trained][:count]


def patches(images: Tensor) -> Tensor:
    """Return random patches of images (B, 3, H, W) in [-1, 1], the same number of each set: (n, 48)."""
    found = unfold(images, PATCH).transpose(1, 2).flatten(0, 1) / 2
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:POINTS]]


def style_distance(images: Tensor, others: Tensor) -> float:
    """Return the sliced distance between the patches of two sets of images."""
    one, other = patches(images), patches(others)
    lines = torch.randn(DIRECTIONS, one.shape[1], generator=torch.Generator().manual_seed(1))
    lines = lines / lines.norm(dim=1, keepdim=True)
    return float(((one @ lines.T).sort(0).values - (other @ lines.T).sort(0).values).square().mean().sqrt())


def named(images: Tensor, references: Tensor, indices: list[int]) -> float:
    """Return the share of images whose nearest reference is the named one."""
    return float(
        (torch.cdist(compared(images), compared(references)).argmin(1) == torch.tensor(indices)).float().mean()
    )


def main() -> None:
    """Print the table, and write the contact sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora", default="ink")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--sheet")
    arguments = parser.parse_args()
    pipeline, dataset = unnoise.load("emoji"), open_noto()
    indices = held_out(dataset, arguments.prompts)
    prompts = [dataset.captions[i][0] for i in indices]
    plain = torch.cat([*originals(dataset)])
    drawings = inked(plain)

    def generate(**more: object) -> Tensor:
        samples = pipeline.generate(prompts, seed=SEED, batch=BATCH, **more)
        return torch.cat([pipeline.space.decode(sample.x0[None]) for sample in samples]).clamp(-1, 1)

    before, after = generate(), generate(lora=arguments.lora)
    target, other = drawings[indices], drawings[held_out(dataset, 2 * arguments.prompts)[arguments.prompts :]]
    print(f"{arguments.prompts} held-out prompts")
    print(f"{'':34}{'style':>8}{'named':>8}")
    rows = (
        ("base", before, plain),
        ("base, inked by the script", inked(before), drawings),
        ("base with the adapter", after, drawings),
    )
    for name, images, references in rows:
        print(f"{name:34}{style_distance(images, target):8.4f}{named(images, references, indices):8.1%}")
    print(f"{'other ink drawings':34}{style_distance(other, target):8.4f}")
    if arguments.sheet:
        images = to_images(torch.cat([row[:SHOWN] for row in (before, after, target)]).clamp(-1, 1))
        captions = [f"{p}{label}" for label in ("", ", with the adapter", ", ink drawing") for p in prompts[:SHOWN]]
        contact_sheet(images, captions, f"{arguments.lora}: base, adapter, drawings", SHOWN).save(arguments.sheet)


if __name__ == "__main__":
    main()
