"""Measure a model of emoji: `python bench/emoji.py MODEL` prints the figures of the base as a table in markdown.

Each row is a set of prompts of emoji_prompts.py, each figure one of emoji_figures.py. The rows of real views are what
the measures themselves get wrong; their Fréchet distance, to views of other prompts, is its floor. Of natural prompts,
which are all drawn, it is to other images of the same names.

    python bench/emoji.py [MODEL] [--count N] [--folder DIR] [--steps N] [--guidance-scale G] [--sets names pairs ...]

Writes emoji.json and a sheet of the failures of each set into the folder, which keeps the trained judge too.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from emoji_features import FOLDER, Labels, accuracy, trained_judge
from emoji_figures import JudgeFunction, Verdict, neighbours, sharpness, verdicts
from emoji_prompts import SETS, Case, Prompts, natural_prompts
from frechet import frechet
from torch import Tensor

import unnoise
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import render_views
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.progress import ProgressBar
from unnoise.train.evaluate import image_generator

COUNT, SHOWN, COLUMNS = 200, 48, 12
MOST = float("inf")
TARGETS = {  # the goals: set, figure -> least and most
    ("names", "named"): (0.98, MOST), ("pictures", "nearest"): (0.92, MOST), ("natural", "named"): (0.85, MOST),
    ("colours", "right"): (0.85, MOST), ("styles", "styled"): (0.9, MOST), ("styles", "named"): (0.8, MOST),
    ("pairs", "named"): (0.7, MOST), ("pairs", "arranged"): (0.85, MOST), ("backgrounds", "bordered"): (0.98, MOST),
    ("names", "sharpness"): (0.85, 1.1), ("natural", "sharpness"): (0.85, 1.1), ("colours", "ratio"): (0.5, MOST),
    ("styles", "ratio"): (0.5, MOST), ("pairs", "ratio"): (0.5, MOST),
}  # fmt: skip
SHARES = ("named", "styled", "coloured", "bordered", "arranged", "right")
FIGURES = (*SHARES, "nearest", "ratio", "sharpness", "Fréchet")


def figures_of(
    images: Tensor, cases: Sequence[Case], real: Tensor, others: Tensor, judge: JudgeFunction, labels: Labels
) -> tuple[dict[str, float], list[Verdict]]:
    """Compute every figure of an image of each case.

    real: the views of the cases, for the sharpness; others: real views of such cases, for the Fréchet distance.
    """
    found = verdicts(images, cases, judge, labels)
    shares = {name: sum(getattr(one, name) for one in found) / len(found) for name in SHARES}
    if any(case.relation for case in cases) and shares["named"]:
        shares["arranged"] = sum(one.arranged for one in found) / sum(one.named for one in found)
    near = neighbours(images, cases, labels.dataset)
    distance = frechet(*(judge(x).features.double().numpy() for x in (images, others)))
    return shares | {
        "nearest": near.share,
        "ratio": near.ratio,
        "sharpness": sharpness(images) / sharpness(real),
        "Fréchet": distance,
    }, found


def failures(images: Tensor, cases: Sequence[Case], found: Sequence[Verdict], real: Tensor, path: Path) -> None:
    """Write a sheet of what is wrong, each image beside a real view."""
    wrong = [k for k, one in enumerate(found) if not (one.right and one.arranged)][:SHOWN]
    pairs = [image for k in wrong for image in to_images(torch.stack([images[k], real[k]]).clamp(-1, 1))]
    captions = [text for k in wrong for text in (cases[k].prompt, f"judged: {found[k].found}")]
    if wrong:
        contact_sheet(pairs, captions, f"{len(wrong)} wrong of {len(cases)}", COLUMNS).save(path)


def table(rows: dict[str, dict[str, float]]) -> str:
    """Lay figures out in markdown; a column that a row does not ask for is empty."""
    lines = [f"| set | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    for name, row in rows.items():
        cells = (
            "" if k not in row else f"{row[k]:.1%}" if k in (*SHARES, "nearest") else f"{row[k]:.2f}" for k in FIGURES
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def targets(rows: dict[str, dict[str, float]]) -> list[str]:
    """Say of each number to reach what was measured."""
    found = []
    for (name, figure), (least, most) in TARGETS.items():
        if figure in rows.get(name, {}):
            value, bounds = rows[name][figure], f"at least {least:g}" + ("" if most == MOST else f", at most {most:g}")
            found.append(f"{name}, {figure}: {value:.3f}, {bounds}{'' if least <= value <= most else ': NOT REACHED'}")
    return found


def asked_for(row: dict[str, float], cases: Sequence[Case]) -> dict[str, float]:
    """Leave out the shares of what no prompt of a set asks for."""
    idle = {
        "styled": not any(case.style for case in cases),
        "coloured": not any(case.colour for case in cases),
        "bordered": all(case.background == "white" for case in cases),
        "arranged": not any(case.relation for case in cases),
    }
    return {name: value for name, value in row.items() if not idle.get(name, False)}


def real_views(cases: Sequence[Case], dataset: ImageDataset) -> Tensor:
    """Render the real view of each case."""
    return torch.cat(
        [render_views(dataset, [case.view for case in cases[k : k + 64]]) for k in range(0, len(cases), 64)]
    )


def main() -> None:
    """Print the tables, and write the figures and the sheets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="emoji")
    parser.add_argument("--count", type=int, default=COUNT, help="prompts of each set, but for all natural ones")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    given = parser.parse_args()
    dataset = open_source("emoji", 64)
    labels = Labels(dataset)
    net = trained_judge(labels, given.folder)
    pipeline, prompts = unnoise.load(given.model), Prompts(dataset, given.seed)
    options = {"steps": given.steps, "guidance_scale": given.guidance_scale}
    rows, real_rows, counts = {}, {}, {}
    for name in given.sets:
        count = len(natural_prompts()) if name == "natural" else given.count
        cases, other_cases = prompts.with_others(name, count, count)
        counts[name] = len(cases)
        with ProgressBar(name) as callback:
            images = image_generator(pipeline, given.seed, callback, **options)([case.prompt for case in cases])
        real, others = (real_views(part, dataset) for part in (cases, other_cases))
        row, found = figures_of(images, cases, real, others, net.judge, labels)
        rows[name] = asked_for(row, cases)
        real_rows[f"{name}, real"] = asked_for(figures_of(real, cases, real, others, net.judge, labels)[0], cases)
        failures(images, cases, found, real, given.folder / f"failures-{name}.png")
    lines = [table(rows | real_rows), *targets(rows)]
    lines += [f"judge, {name}: {share:.1%}" for name, share in accuracy(net, labels).items()]
    print("\n".join(lines))
    result = {"model": given.model, "counts": counts, "seed": given.seed, "figures": rows, "real": real_rows}
    (given.folder / "emoji.json").write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
