"""Measure a student against its teacher: `python bench/distill.py STUDENT TEACHER` prints the table of both.

All draw the same held-out combinations (colours, styles, pairs, backgrounds of emoji_prompts.py) from the same noise.
The teacher at its default steps is what a student is compared with; the teacher at equal steps, on its fitted grid
where its card has one, is the control.

    ends        root mean square distance of x0 to the teacher's at its default, from the same noise
    right       share of images that are right, and the points that are missing to the teacher's
    arranged    of the pairs whose things are both there, share in the arrangement asked for: points to the teacher's
    sharpness, Fréchet, diversity      each as a ratio to the teacher's
    coverage    share of the teacher's images that have an image of the row among their nearest

    python bench/distill.py STUDENT TEACHER [--calls 1 2 4] [--prompts N] [--seeds N] [--folder DIR]

Writes distill.json and a sheet of the first prompts, one row of images for each row of the table, into the folder.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from emoji import real_views
from emoji_features import FOLDER, Labels, trained_judge
from emoji_figures import JudgeFunction, coverage, distance_of_ends, diversity, sharpness, verdicts
from emoji_prompts import Case, Prompts
from frechet import frechet
from torch import Tensor

import unnoise
from unnoise.data.open import open_source
from unnoise.generation.decode import to_images
from unnoise.generation.images import image_tensor
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.progress import ProgressBar
from unnoise.train.evaluate import draw_each

SETS = ("colours", "styles", "pairs", "backgrounds")
CALLS, PROMPTS, SEEDS, SHOWN = (1, 2, 4), 32, 4, 24
FIGURES = ("ends", "right", "points", "arranged", "sharpness", "Fréchet", "diversity", "coverage")
TARGETS = {  # calls -> figure -> bound, and whether it is the least
    1: {"points": (-6.0, True), "sharpness": (0.75, True), "Fréchet": (1.6, False), "diversity": (0.85, True)},
    2: {"points": (-3.0, True), "sharpness": (0.85, True), "Fréchet": (1.3, False), "diversity": (0.9, True)},
    4: {"points": (-1.0, True), "sharpness": (0.9, True), "Fréchet": (1.1, False), "diversity": (0.95, True)},
}
ENDS = 0.5  # at 2 calls, of the teacher's own at 4


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Samples of every prompt from every seed: x0 and images, (prompts, seeds, *d)."""

    x0: Tensor
    images: Tensor


def drawn(pipeline: Pipeline, cases: Sequence[Case], seeds: int, steps: int | None, label: str) -> Drawn:
    """Draw every case from `seeds` seeds of its own, which are the same for every model and number of steps."""
    prompts = [case.prompt for case in cases for _ in range(seeds)]
    with ProgressBar(label) as callback:
        samples = draw_each(pipeline, prompts, 0, callback, steps=steps)
    x0, images = torch.stack([one.x0.float() for one in samples]), torch.cat([image_tensor(s.image) for s in samples])
    return Drawn(x0.unflatten(0, (-1, seeds)), images.unflatten(0, (-1, seeds)))


@dataclass(frozen=True)
class Comparison:
    """What rows are compared by. real: views of other prompts of the same sets."""

    cases: Sequence[Case]
    real: Tensor
    base: Drawn
    judge: JudgeFunction
    labels: Labels

    def figures(self, row: Drawn) -> dict[str, float]:
        """Compute the figures of a row of the table."""
        images, of_base = row.images.flatten(0, 1), self.base.images.flatten(0, 1)
        features, base_features = (self.judge(x).features for x in (images, of_base))
        real = self.judge(self.real).features.double().numpy()
        (right, arranged), (base_right, base_arranged) = self._shares(row), self._shares(self.base)
        return {
            "ends": distance_of_ends(row.x0, self.base.x0),
            "right": right,
            "points": 100 * (right - base_right),
            "arranged": 100 * (arranged - base_arranged),
            "sharpness": sharpness(images) / sharpness(of_base),
            "Fréchet": frechet(features.double().numpy(), real) / frechet(base_features.double().numpy(), real),
            "diversity": diversity(row.images) / diversity(self.base.images),
            "coverage": coverage(features, base_features),
        }

    def _shares(self, row: Drawn) -> tuple[float, float]:
        """Return the share of images that are right, and of named pairs that are arranged as asked for."""
        cases = [case for case in self.cases for _ in range(row.images.shape[1])]
        found = verdicts(row.images.flatten(0, 1), cases, self.judge, self.labels)
        pairs = [one for one, case in zip(found, cases, strict=True) if case.relation and one.named]
        return sum(one.right for one in found) / len(found), sum(one.arranged for one in pairs) / max(1, len(pairs))


def targets(rows: dict[str, dict[str, float]], calls: Sequence[int]) -> list[str]:
    """Say of each number to reach what was measured."""
    found = []
    for count in calls:
        row = rows[f"student, {count}"]
        for name, (bound, least) in TARGETS.get(count, {}).items():
            reached = row[name] >= bound if least else row[name] <= bound
            found.append(
                f"{count} calls, {name}: {row[name]:.2f}, at {'least' if least else 'most'} {bound}"
                f"{'' if reached else ': NOT REACHED'}"
            )
    if {2, 4} <= {*calls}:
        ends, control = rows["student, 2"]["ends"], rows["teacher, 4"]["ends"]
        reached = "" if ends <= ENDS * control else ": NOT REACHED"
        found.append(f"2 calls, ends: {ends:.4f}, at most {ENDS} of the teacher's {control:.4f} at 4{reached}")
    return found


def table(rows: dict[str, dict[str, float]]) -> str:
    """Lay the rows out in markdown."""
    lines = [f"| | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    formats = {"right": ".1%", "coverage": ".1%", "points": "+.1f", "arranged": "+.1f", "ends": ".4f"}
    lines += [
        f"| {name} | {' | '.join(format(row[figure], formats.get(figure, '.2f')) for figure in FIGURES)} |"
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table, and write the figures and the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("student")
    parser.add_argument("teacher")
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS)
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of each of the four sets")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of each prompt, at least 2")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    dataset = open_source("emoji", 64)
    labels = Labels(dataset)
    judge = trained_judge(labels, given.folder).judge
    student, teacher = unnoise.load(given.student), unnoise.load(given.teacher)
    prompts = Prompts(dataset)
    every = [prompts.with_others(name, given.prompts, given.prompts * given.seeds) for name in SETS]
    cases, others = ([case for pair in every for case in pair[k]] for k in (0, 1))
    base = drawn(teacher, cases, given.seeds, None, "teacher")
    comparison = Comparison(cases, real_views(others, dataset), base, judge, labels)
    default = f"teacher, {teacher.card.advice.steps}"
    samples = {default: base}
    for calls in given.calls:
        samples[f"student, {calls}"] = drawn(student, cases, given.seeds, calls, f"student, {calls}")
        samples[f"teacher, {calls}"] = drawn(teacher, cases, given.seeds, calls, f"teacher, {calls}")
    rows = {name: comparison.figures(row) for name, row in samples.items()}
    print("\n".join([table(rows), *targets(rows, given.calls)]))
    result = {"student": given.student, "teacher": given.teacher, "prompts": len(cases), "seeds": given.seeds}
    (given.folder / "distill.json").write_text(json.dumps(result | {"rows": rows}, indent=1, ensure_ascii=False))
    step = max(1, len(cases) // SHOWN)
    shown = {name: row.images[::step, 0][:SHOWN] for name, row in samples.items()}
    captions = [f"{name}: {case.prompt}" for name in samples for case in cases[::step][:SHOWN]]
    images = to_images(torch.cat([*shown.values()]).clamp(-1, 1))
    contact_sheet(images, captions, "Student and teacher from the same noise", SHOWN).save(given.folder / "distill.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
