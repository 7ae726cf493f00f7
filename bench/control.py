"""What the embedded control does: names drawn along the outlines of other pictures; `make bench` prints the table.

    followed   share of the outlines' line pixels within one pixel of a line of what is drawn
    colour     distance of the mean colour inside from that of the picture that was named, 0 to 1: the words decide it

    python bench/control.py [--sheet FILE]
"""

import argparse

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

import unnoise
from unnoise.data.outline import outlines
from unnoise.data.source import open_source
from unnoise.data.view import View, pixels_of
from unnoise.given import picture_data
from unnoise.pipeline import Pipeline
from unnoise.sample import pictures
from unnoise.train.sheet import grid_of

COUNT, SIDE, SEED, SHOWN = 64, 64, 11, 12


def followed(made: Tensor, lines: Tensor) -> float:
    """Give the share of line pixels that what was drawn has a line beside."""
    near = max_pool2d(outlines(made), 3, 1, 1) > 0.3
    return float(near[lines > 0.5].float().mean())


def colour(made: Tensor, meant: Tensor) -> float:
    """Give the mean distance between mean colours of what is not paper."""

    def mean(x: Tensor) -> Tensor:
        inside = (x.amin(1, keepdim=True) < 0.8).float()
        return (x * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)

    return float((mean(made) - mean(meant)).norm(dim=1).mean() / (2 * 3**0.5))


def drawn(pipeline: Pipeline, names: list[str], lines: Tensor | None) -> Tensor:
    """Draw each name, along its lines if there are any."""
    made = []
    for k, name in enumerate(names):
        hint = None if lines is None else pictures(lines[k : k + 1].expand(-1, 3, -1, -1) * 2 - 1)[0]
        made.append(picture_data(pipeline.generate(name, seed=SEED + k, hint=hint)[0].image))
    return torch.cat(made)


def main() -> None:
    """Print the table, and write the sheet that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    source = open_source("emoji", SIDE)
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][:COUNT]
    shapes = pixels_of(source, [View(i, "") for i in chosen])
    named = chosen[1:] + chosen[:1]  # each name along the outlines of the picture before
    names = [source.captions[i][0] for i in named]
    meant, lines = pixels_of(source, [View(i, "") for i in named]), outlines(shapes)
    rows = {
        "without": drawn(unnoise.load("emoji"), names, None),
        "with the control": drawn(unnoise.load("emoji", control="outline"), names, lines),
        "the pictures of the outlines": shapes,
    }
    print(f"{COUNT} names, each along the outlines of another picture")
    print(f"{'':30}{'followed':>10}{'colour':>8}")
    for name, made in rows.items():
        print(f"{name:30}{followed(made, lines):10.1%}{colour(made, meant):8.3f}")
    if asked.sheet:
        shown = (lines.expand(-1, 3, -1, -1) * 2 - 1, rows["with the control"], meant)
        grid_of(torch.cat([row[:SHOWN] for row in shown]), SHOWN).save(asked.sheet)


if __name__ == "__main__":
    main()
