"""Measure students of Fashion-MNIST: `python bench/fashion_students.py RUNS [N]` prints the table of docs/fashion.md.

RUNS holds the teacher, `fashion/fashion.safetensors`, and the students of recipes/distill/fashion-*.toml; what is
missing is left out. Each draws every class equally often, from the same seeds, in one, two and four network calls. The
teacher draws them too, with its default sampler for so many calls, and in TEACHER calls, which are compared with.

    Fréchet     distance of features of bench/fashion_features.py to the 10,000 test pictures, and as a ratio
    right       share of pictures of the class that was asked for
    ends        root mean square distance of x0 to the teacher's of TEACHER calls, from the same noise
    diversity   mean distance of pictures of a class from each other, as a ratio
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fashion_features import CLASSES, Classifier, accuracy, features, read, scaled, trained_classifier
from frechet import frechet
from torch import Tensor

from unnoise import load
from unnoise.pipeline import Pipeline

STUDENTS = ("imitate", "consistency", "match")
CALLS, TEACHER = (1, 2, 4), 20
SAMPLES, BATCH = 5_000, 250
PAIRED = 100  # pictures of a class whose distances are measured


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The samples of a row of the table: x0 (N, *d), pictures (N, 1, 28, 28) in [-1, 1] and their Fréchet distance."""

    x0: Tensor
    images: Tensor
    frechet: float


@dataclass(frozen=True, eq=False)
class Measure:
    """What every row is measured by: a classifier, and the features of the test pictures."""

    classifier: Classifier
    real: np.ndarray

    def row(self, model: Pipeline, count: int, steps: int) -> Row:
        """Draw `count` samples of a model, each class as often as the others, one class after another."""
        each, x0 = count // len(CLASSES), []
        for k, name in enumerate(CLASSES):
            samples = model.generate(name, n=each, seed=k * each, steps=steps, batch=BATCH, progress=False)
            x0.append(torch.stack([sample.x0.float() for sample in samples]))
        images = torch.cat([model.space.decode(part) for part in x0]).clamp(-1, 1)
        return Row(torch.cat(x0), images, frechet(features(self.classifier, images), self.real))

    def line(self, name: str, row: Row, of: Row) -> str:
        """Write the figures of a row beside those of the teacher in its many calls."""
        wanted = torch.arange(len(CLASSES)).repeat_interleave(len(row.images) // len(CLASSES))
        right = accuracy(self.classifier, row.images, wanted)
        ends = float((row.x0 - of.x0).square().mean().sqrt())
        spread = diversity(row.images) / diversity(of.images)
        ratio = row.frechet / of.frechet
        return f"| {name} | {row.frechet:.2f} | {ratio:.2f} | {right:.1%} | {ends:.3f} | {spread:.2f} |"


def diversity(images: Tensor) -> float:
    """Return the mean distance of pictures of a class from each other. images: one class after another."""
    groups = images.flatten(1).unflatten(0, (len(CLASSES), -1))[:, :PAIRED]
    return float(torch.stack([torch.pdist(group).mean() for group in groups]).mean())


def main() -> None:
    """Print the table."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else SAMPLES
    classifier = trained_classifier(folder / "classifier.safetensors")
    measure = Measure(classifier, features(classifier, scaled(read("test")[0])))
    teacher = load(folder / "fashion/fashion.safetensors")
    base = measure.row(teacher, count, TEACHER)
    print(f"{count:,} samples\n\n| | Fréchet | ratio | right | ends | diversity |\n|---|---|---|---|---|---|")
    print(measure.line(f"teacher, {TEACHER} calls", base, base), flush=True)
    for steps in CALLS:
        print(measure.line(f"teacher, {steps}", measure.row(teacher, count, steps), base), flush=True)
    for method in STUDENTS:
        path = folder / f"fashion-{method}/fashion-{method}.safetensors"
        if path.exists():
            student = load(path)
            for steps in CALLS:
                print(measure.line(f"{method}, {steps}", measure.row(student, count, steps), base), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
