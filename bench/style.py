"""Measure a LoRA of a style: the embedded `ink`, on what it was not trained on; `make bench` prints the table.

    style    sliced Wasserstein-2 distance between the patches of 4 x 4 pixels of the output, and of ink drawings that
             were not in the training set, in units of the range from black to white
    named    the nearest of all images of the data set is the one whose name was the prompt, as in `unnoise evaluate`;
             drawings in ink are compared with ink drawings

Lines alone distinguish few of the small images, so `named` is measured three times: of the base, of the base whose
images the script of the style draws in ink, and of the base with the adapter.

    python bench/style.py [--lora FILE] [--prompts N] [--sheet FILE]
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import unfold

import unnoise
from unnoise.data.dataset import ImageDataset, open_source
from unnoise.train.evaluate import chosen_pictures, distances, originals
from unnoise.train.sheet import grid_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples/style"))
from make import COUNT, inked  # noqa: E402

SIDE, SEED = 64, 7
PROMPTS, BATCH, SHOWN = 256, 16, 12
PATCH, DIRECTIONS = 4, 64
POINTS = 200_000  # patches that are compared


def unseen(source: ImageDataset, count: int) -> list[int]:
    """Choose images of concepts that are not in the training set of the style."""
    firsts = [members[0] for members in source.members]
    trained = {source.concepts[i] for i in firsts[:: len(firsts) // COUNT][:COUNT]}
    every = chosen_pictures(source, len(source.members), SEED, "concept")
    return [i for i in every if source.concepts[i] not in trained][:count]


def patches(pictures: Tensor) -> Tensor:
    """List every patch of images (B, 3, H, W) in [-1, 1], the same number from each set: (n, 48)."""
    found = unfold(pictures, PATCH).transpose(1, 2).flatten(0, 1) / 2
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:POINTS]]


def apart(pictures: Tensor, others: Tensor) -> float:
    """Return the sliced distance between the patches of two sets of images."""
    one, other = patches(pictures), patches(others)
    lines = torch.randn(DIRECTIONS, one.shape[1], generator=torch.Generator().manual_seed(1))
    lines = lines / lines.norm(dim=1, keepdim=True)
    return float(((one @ lines.T).sort(0).values - (other @ lines.T).sort(0).values).square().mean().sqrt())


def named(made: Tensor, references: Tensor, picked: list[int]) -> float:
    """Return the share of images whose nearest reference is the one that the prompt names."""
    return float((distances(made, references).argmin(1) == torch.tensor(picked)).float().mean())


def main() -> None:
    """Print the table, and write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lora", default="ink")
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    pipeline, source = unnoise.load("emoji"), open_source("emoji", SIDE)
    picked = unseen(source, asked.prompts)
    prompts = [source.captions[i][0] for i in picked]
    plain = originals(source)
    drawings = inked(plain)

    def drawn(**more: object) -> Tensor:
        samples = pipeline.generate(prompts, seed=SEED, batch=BATCH, **more)
        return torch.cat([pipeline.space.decode(sample.x0[None]) for sample in samples]).clamp(-1, 1)

    before, after = drawn(), drawn(lora=asked.lora)
    target, other = drawings[picked], drawings[unseen(source, 2 * asked.prompts)[asked.prompts :]]
    print(f"{asked.prompts} prompts of things that are not in the training set of the style")
    print(f"{'':34}{'style':>8}{'named':>8}")
    rows = (
        ("base", before, plain),
        ("base, inked by the script", inked(before), drawings),
        ("base with the adapter", after, drawings),
    )
    for name, made, references in rows:
        print(f"{name:34}{apart(made, target):8.4f}{named(made, references, picked):8.1%}")
    print(f"{'other ink drawings':34}{apart(other, target):8.4f}")
    if asked.sheet:
        rows = (before, after, target)
        grid_of(torch.cat([row[:SHOWN] for row in rows]), SHOWN).save(asked.sheet)


if __name__ == "__main__":
    main()
