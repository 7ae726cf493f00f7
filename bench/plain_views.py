"""Measure how fast an image is learnt from views of it: `python bench/plain_views.py MODEL` prints the table.

A table of one vector for each image and a small decoder learn x0 of views, which is what a denoiser learns at pure
noise, without the words. A share of the views is the image as it is, on white; the others vary as WILD says. The error
is that of the plain images, as a share of their variance. No words explain the variations here, so that a
text-to-image model loses less by them.

    python bench/plain_views.py MODEL [--images N] [--samples N]
"""

import argparse

import torch
from torch import Tensor, nn

import unnoise
from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import plain_view, random_view, render_views
from unnoise.pipeline import Pipeline

WILD = Augment(background=0.25, move=0.15, shift=0.06, scale=0.1, recolour=0.15, resize=0.1, scene=0.25)
SHARES = (0.0, 0.5, 0.75, 1.0)  # of views that are plain, beside the plain ones among those of WILD
VIEWS, BATCH, WIDTH, HIDDEN, RATE = 8, 256, 256, 1024, 1e-3
TABLE = 10  # learning rate of the vectors, as a multiple


@torch.no_grad()
def encoded(pipeline: Pipeline, dataset: ImageDataset) -> tuple[Tensor, Tensor]:
    """Return x0 of the plain view and of VIEWS variations of each image: (N, *d), (N, VIEWS, *d)."""
    plain, varied = [], []
    for i in range(len(dataset)):
        views = [plain_view(dataset, i), *(random_view(dataset, i, v, 1, WILD) for v in range(VIEWS))]
        x0 = pipeline.space.encode(render_views(dataset, views))
        plain.append(x0[0])
        varied.append(x0[1:])
    return torch.stack(plain), torch.stack(varied)


def error_after(plain: Tensor, varied: Tensor, share: float, samples: int) -> list[float]:
    """Train on so many samples, and return the error of the plain images after each quarter, as a share."""
    torch.manual_seed(0)
    table, size = nn.Embedding(len(plain), WIDTH), plain[0].numel()
    nn.init.normal_(table.weight, std=0.5)
    decoder = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, size))
    groups = [{"params": table.parameters(), "lr": TABLE * RATE}, {"params": decoder.parameters()}]
    optimizer = torch.optim.AdamW(groups, RATE, betas=(0.9, 0.98), weight_decay=0)
    steps, found = samples // BATCH, []
    for step in range(1, steps + 1):
        images, views = torch.randint(len(plain), (BATCH,)), torch.randint(VIEWS, (BATCH,))
        as_it_is = torch.rand(BATCH, 1) < share
        wanted = torch.where(as_it_is, plain[images].flatten(1), varied[images, views].flatten(1))
        (decoder(table(images)) - wanted).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % (steps // 4) == 0:
            with torch.no_grad():
                gap = (decoder(table.weight) - plain.flatten(1)).square().mean()
            found.append(float(gap / (plain - plain.mean(0)).square().mean()))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="a model file, for its autoencoder")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=120_000)
    given = parser.parse_args()
    whole = open_source("emoji", 64)
    dataset = whole.subset(range(0, len(whole), max(1, len(whole) // given.images)))
    plain, varied = encoded(unnoise.load(given.model), dataset)
    quarters = [f"{given.samples * k // 4 / len(dataset):.0f} samples an image" for k in range(1, 5)]
    print(f"| plain views | {' | '.join(quarters)} |\n|---|{'---|' * 4}")
    of_wild = float((varied - plain[:, None]).flatten(2).abs().amax(2).lt(1e-3).float().mean())
    for share in SHARES:
        errors = error_after(plain, varied, share, given.samples)
        total = share + (1 - share) * of_wild
        print(f"| {total:.0%} | {' | '.join(f'{one:.2f}' for one in errors)} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
