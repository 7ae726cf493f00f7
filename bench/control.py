"""Measure the embedded ControlNet with outlines at another position and size; `make bench` prints the table.

followed   share of the line pixels of the control image within one pixel of a line of the generated image
strayed    share of the line pixels of the generated image further than that from all lines of the control image

    python bench/control.py [--count N] [--sheet FILE]
"""

import argparse

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

import unnoise
from unnoise.data.noto import open_noto
from unnoise.data.outline import outlines
from unnoise.data.view import PlacedImage, View, render_views
from unnoise.generation.decode import to_images
from unnoise.generation.images import image_tensor
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline

COUNT, SIDE, SEED, SHOWN = 64, 64, 11, 12
LINE = 0.4  # least value of a line pixel
PLACE = (0.1, -0.1, 0.75)  # right, down and size, as shares of the image


def share_within(lines: Tensor, others: Tensor) -> float:
    """Return the share of line pixels with a line pixel of `others` within one pixel."""
    return float((max_pool2d(others, 3, 1, 1) > LINE)[lines > LINE].float().mean())


def generate(pipeline: Pipeline, names: list[str], lines: Tensor | None) -> Tensor:
    """Generate an image of each name, with its outlines as the control image if there are any."""
    images = []
    for k, name in enumerate(names):
        control_image = None if lines is None else to_images(lines[k : k + 1].expand(-1, 3, -1, -1) * 2 - 1)[0]
        images.append(image_tensor(pipeline.generate(name, seed=SEED + k, control_image=control_image)[0].image))
    return torch.cat(images)


def main() -> None:
    """Print the table, and write the contact sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=COUNT, help=f"names, at most {COUNT}")
    parser.add_argument("--sheet")
    arguments = parser.parse_args()
    dataset = open_noto()
    firsts = [members[0] for members in dataset.members]
    chosen = firsts[:: len(firsts) // COUNT][: arguments.count]
    shapes = render_views(dataset, [View(i, "", things=(PlacedImage(i, PLACE),)) for i in chosen])
    names = [dataset.captions[i][0] for i in chosen]
    lines = outlines(shapes)
    rows = {
        "without": generate(unnoise.load("emoji"), names, None),
        "with the control": generate(unnoise.load("emoji", control="outline"), names, lines),
        "images of the outlines": shapes,
    }
    print(f"{len(names)} names, each with the outlines of its image at three quarters of the size, towards a corner")
    print(f"{'':30}{'followed':>10}{'strayed':>10}")
    for name, images in rows.items():
        found = outlines(images)
        print(f"{name:30}{share_within(lines, found):10.1%}{1 - share_within(found, lines):10.1%}")
    if arguments.sheet:
        shown = {"outlines": lines.expand(-1, 3, -1, -1) * 2 - 1} | rows
        images = to_images(torch.cat([row[:SHOWN] for row in shown.values()]).clamp(-1, 1))
        captions = [f"{name}, {label}" for label in shown for name in names[:SHOWN]]
        contact_sheet(images, captions, "The embedded ControlNet", SHOWN).save(arguments.sheet)


if __name__ == "__main__":
    main()
