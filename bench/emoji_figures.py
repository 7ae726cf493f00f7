"""Figures of generated emoji: what is right, how sharp, how new, how diverse, and what is covered.

right        the judge of emoji_features.py names what was asked for; for the rest of a prompt, it names the style or
             the colour, or the border has the colour of the background
nearest      the nearest real picture, both blurred by one pixel at 64 x 64, has the name (and the style) asked for
ratio        median of (distance to the nearest real picture) / (to the next); near 0 for a copy
             Real pictures are in the colour and on the background that were asked for, here and in nearest.
sharpness    energy of the Laplacian, over that of real views of the same prompts
Fréchet      distance between Gaussians fitted to the judge's features, to real views of other prompts of the set,
             or, of natural prompts, to other images of the same names
diversity    mean distance between images of one prompt from several seeds, blurred by one pixel
coverage     share of a teacher's images with an image of the student nearer, by features, than the teacher's k-th
             Source: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", eq. 4
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from emoji_features import Judged, Labels, cut
from emoji_prompts import Case
from torch import Tensor

from unnoise.data import scenes
from unnoise.data.dataset import ImageDataset
from unnoise.data.recolour import COLOURS
from unnoise.data.view import PLAIN, PlacedImage, View
from unnoise.train.evaluate import border_names, compared, nearest

NEAREST: Final = 5  # k of the coverage
PLACES: Final = tuple(dict.fromkeys(place for one in scenes.RELATIONS for place in (one.first, one.second)))

JudgeFunction = Callable[[Tensor], Judged]  # images (B, 3, 64, 64) in [-1, 1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is right of an image. Parts that are not asked for are right.

    Args:
        named: every thing that is asked for is there.
        arranged: two things are where the prompt says.
        found: the names that are there, for a person.
    """

    named: bool
    styled: bool = True
    coloured: bool = True
    bordered: bool = True
    arranged: bool = True
    found: str = ""

    @property
    def right(self) -> bool:
        """Whether all that is asked for is right, but for the arrangement, which is a figure of its own."""
        return self.named and self.styled and self.coloured and self.bordered


def verdicts(images: Tensor, cases: Sequence[Case], judge: JudgeFunction, labels: Labels) -> list[Verdict]:
    """Judge an image of each case: (B, 3, 64, 64) in [-1, 1]."""
    judged, borders = judge(images), border_names(images)
    scenes_of = [k for k, case in enumerate(cases) if case.relation]
    arranged = dict(
        zip(scenes_of, _arrangements(images[scenes_of], [cases[k] for k in scenes_of], judge, labels), strict=True)
    )
    colours, found = [*COLOURS], []
    for k, case in enumerate(cases):
        if k in arranged:
            found.append(arranged[k])
            continue
        name = labels.names[int(judged.names[k].argmax())]
        found.append(
            Verdict(
                named=name in case.names[0],
                styled=not case.style or labels.styles[int(judged.styles[k].argmax())] == case.style,
                coloured=not case.colour or colours[int(judged.colours[k].argmax())] == case.colour,
                bordered=case.background == PLAIN or borders[k] == case.background,
                found=name,
            )
        )
    return found


def _arrangements(images: Tensor, cases: Sequence[Case], judge: JudgeFunction, labels: Labels) -> list[Verdict]:
    """Look for two things in every pair of places that a relation has, each thing in the first and in the second."""
    if not cases:
        return []
    at = {place: judge(cut(images, [place] * len(images))).names for place in PLACES}
    pairs = [pair for one in scenes.RELATIONS for pair in ((one.first, one.second), (one.second, one.first))]
    found = []
    for k, case in enumerate(cases):
        rows = [[labels.number_of[name] for name in names] for names in case.names]
        best, where, named = -torch.inf, pairs[0], False
        for first, second in pairs:
            logs = [at[place][k] for place in (first, second)]
            right = all(int(log.argmax()) in row for log, row in zip(logs, rows, strict=True))
            score = sum(float(log[row].logsumexp(0)) for log, row in zip(logs, rows, strict=True))
            if (right, score) > (named, best):
                best, where, named = score, (first, second), right
        shown = " + ".join(labels.names[int(at[place][k].argmax())] for place in where)
        found.append(Verdict(named=named, arranged=named and _as_asked(case, *where), found=shown))
    return found


def _as_asked(case: Case, first: scenes.Place, second: scenes.Place) -> bool:
    """Return whether two places are those of the relation of a case, as far as its words say."""
    assert case.relation is not None
    wanted = (case.relation.first, case.relation.second)
    axes = [0 if abs(a[0] - b[0]) > abs(a[1] - b[1]) else 1 for a, b in (wanted, (first, second))]
    if axes[0] != axes[1]:
        return False
    order = [a[axes[0]] < b[axes[0]] for a, b in (wanted, (first, second))]
    sizes = [(a[2] > b[2]) - (a[2] < b[2]) for a, b in (wanted, (first, second))]
    return (case.either_side or order[0] == order[1]) and (not any(case.relation.adjectives) or sizes[0] == sizes[1])


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The share of images whose nearest picture is right, and the median ratio of the nearest two distances."""

    share: float
    ratio: float


def neighbours(images: Tensor, cases: Sequence[Case], dataset: ImageDataset) -> Neighbours:
    """Find the nearest pictures of an image of each case, of the two halves of a scene each.

    Pictures have the colour and the background of the case, so that one that is only given these counts as a copy.
    """
    parts, wanted = [], list[tuple[Case, frozenset[str]]]()
    for image, case in zip(images, cases, strict=True):
        places = (case.relation.first, case.relation.second) if case.relation else ()
        parts.append(cut(image.expand(len(places), -1, -1, -1), places) if places else image[None])
        wanted += [(case, names) for names in case.names]
    every, looks = torch.cat(parts), [(case.colour, case.background) for case, _ in wanted]
    far, found = torch.empty(len(every), 2), torch.empty(len(every), 2, dtype=torch.long)
    for colour, background in sorted({*looks}):
        rows = [k for k, look in enumerate(looks) if look == (colour, background)]
        views = [View(i, "", background, (PlacedImage(i, colour=colour),)) for i in range(len(dataset))]
        far[rows], found[rows] = nearest(every[rows], dataset, views)
    right = [
        dataset.captions[i][0] in names and (not case.style or dataset.styles[i] == case.style)
        for i, (case, names) in zip(found[:, 0].tolist(), wanted, strict=True)
    ]
    return Neighbours(sum(right) / len(right), float((far[:, 0] / far[:, 1].clamp_min(1e-9)).median()))


def sharpness(images: Tensor) -> float:
    """Return the mean energy of the Laplacian of images: (B, 3, H, W)."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).expand(3, 1, 3, 3)
    return float(F.conv2d(images, kernel, groups=3).square().mean())


def diversity(images: Tensor) -> float:
    """Return the mean distance between the images of a prompt: (prompts, seeds, 3, H, W)."""
    found = []
    for of_prompt in images:
        far = torch.cdist(compared(of_prompt), compared(of_prompt), compute_mode="donot_use_mm_for_euclid_dist")
        found.append(far.sum() / (len(far) * (len(far) - 1)))
    return float(torch.stack(found).mean())


def coverage(features: Tensor, of_teacher: Tensor, k: int = NEAREST) -> float:
    """Return the share of a teacher's samples (N, d) with a sample (M, d) nearer than the teacher's k-th nearest."""
    radius = torch.cdist(of_teacher, of_teacher).kthvalue(k + 1, dim=1).values
    return float((torch.cdist(of_teacher, features).amin(1) <= radius).float().mean())


def distance_of_ends(x0: Tensor, others: Tensor) -> float:
    """Return the root mean square distance between samples from the same noise: (N, *d) each."""
    return float((x0 - others).square().mean().sqrt())
