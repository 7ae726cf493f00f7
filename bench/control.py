"""Measure the embedded control: names drawn along outlines in another place; `make bench` prints it.

followed   share of the outlines' line pixels within one pixel of a line of the output
strayed    share of the output's line pixels farther than that from any line of the outlines

    python bench/control.py [--count N] [--sheet FILE]
"""

import argparse

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

import unnoise
from unnoise.data.dataset import open_source
from unnoise.data.outline import outlines
from unnoise.data.view import View, pixels_of
from unnoise.generation.decode import to_images
from unnoise.generation.images import image_tensor
from unnoise.pipeline import Pipeline
from unnoise.train.sheet import grid_of

COUNT, SIDE, SEED, SHOWN = 64, 64, 11, 12
LINE = 0.4  # a pixel of at least this darkness is one of a line
PLACE = (0.1, -0.1, 0.75)  # right, down, and the size, as shares of the image


def near(lines: Tensor, others: Tensor) -> float:
    """Return the share of line pixels that have a line of others within one pixel."""
    return float((max_pool2d(others, 3, 1, 1) > LINE)[lines > LINE].float().mean())


def drawn(pipeline: Pipeline, names: list[str], lines: Tensor | None) -> Tensor:
    """Draw each name, along its lines where there are any."""
    found = []
    for k, name in enumerate(names):
        control_image = None if lines is None else to_images(lines[k : k + 1].expand(-1, 3, -1, -1) * 2 - 1)[0]
        found.append(image_tensor(pipeline.generate(name, seed=SEED + k, control_image=control_image)[0].image))
    return torch.cat(found)


def main() -> None:
    """Print the table, and write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=COUNT, help=f"names, at most {COUNT}")
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    source = open_source("emoji", SIDE)
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][: asked.count]
    shapes = pixels_of(source, [View(i, "", place=PLACE) for i in chosen])
    names = [source.captions[i][0] for i in chosen]
    lines = outlines(shapes)
    rows = {
        "without": drawn(unnoise.load("emoji"), names, None),
        "with the control": drawn(unnoise.load("emoji", control="outline"), names, lines),
        "the images of the outlines": shapes,
    }
    print(f"{len(names)} names, each along the outlines of its image at three quarters of its size, towards a corner")
    print(f"{'':30}{'followed':>10}{'strayed':>10}")
    for name, made in rows.items():
        found = outlines(made)
        print(f"{name:30}{near(lines, found):10.1%}{1 - near(found, lines):10.1%}")
    if asked.sheet:
        shown = (lines.expand(-1, 3, -1, -1) * 2 - 1, rows["with the control"], rows["without"])
        grid_of(torch.cat([row[:SHOWN] for row in shown]), SHOWN).save(asked.sheet)


if __name__ == "__main__":
    main()
