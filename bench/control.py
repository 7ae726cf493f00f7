"""What the embedded control does: names drawn along outlines of theirs that lie elsewhere; `make bench` prints it.

followed   share of the outlines' line pixels within one pixel of a line of what is drawn
strayed    share of the line pixels of what is drawn further than that from any of the outlines

python bench/control.py [--sheet FILE]
"""

import argparse

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

import unnoise
from unnoise.data.dataset import open_source
from unnoise.data.outline import outlines
from unnoise.data.view import View, pixels_of
from unnoise.generation.prepare import picture_data
from unnoise.generation.sample import pictures
from unnoise.pipeline import Pipeline
from unnoise.train.sheet import grid_of

COUNT, SIDE, SEED, SHOWN = 64, 64, 11, 12
LINE = 0.4  # from which on a pixel is one of a line
PLACE = (0.1, -0.1, 0.75)  # right, down, and the size, as shares of the picture


def beside(lines: Tensor, others: Tensor) -> float:
    """Give the share of line pixels that have a line of others within one pixel."""
    return float((max_pool2d(others, 3, 1, 1) > LINE)[lines > LINE].float().mean())


def drawn(pipeline: Pipeline, names: list[str], lines: Tensor | None) -> Tensor:
    """Draw each name, along its lines if there are any."""
    made = []
    for k, name in enumerate(names):
        control_image = None if lines is None else pictures(lines[k : k + 1].expand(-1, 3, -1, -1) * 2 - 1)[0]
        made.append(picture_data(pipeline.generate(name, seed=SEED + k, control_image=control_image)[0].image))
    return torch.cat(made)


def main() -> None:
    """Print the table, and write the sheet that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    source = open_source("emoji", SIDE)
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][:COUNT]
    shapes = pixels_of(source, [View(i, "", place=PLACE) for i in chosen])
    names = [source.captions[i][0] for i in chosen]
    lines = outlines(shapes)
    rows = {
        "without": drawn(unnoise.load("emoji"), names, None),
        "with the control": drawn(unnoise.load("emoji", control="outline"), names, lines),
        "the pictures of the outlines": shapes,
    }
    print(f"{COUNT} names, each along the outlines of its picture at three quarters of its size, towards a corner")
    print(f"{'':30}{'followed':>10}{'strayed':>10}")
    for name, made in rows.items():
        found = outlines(made)
        print(f"{name:30}{beside(lines, found):10.1%}{1 - beside(found, lines):10.1%}")
    if asked.sheet:
        shown = (lines.expand(-1, 3, -1, -1) * 2 - 1, rows["with the control"], rows["without"])
        grid_of(torch.cat([row[:SHOWN] for row in shown]), SHOWN).save(asked.sheet)


if __name__ == "__main__":
    main()
