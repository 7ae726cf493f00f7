"""The measures of models of emoji: real views are right, blurred and shuffled ones are not, a copy has no diversity."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import distill
import emoji
import emoji_features
from emoji_features import HEADS, IGNORED, TEST, WHOLE, Judged, Labels, accuracy, cut, rendered, train_judge
from emoji_figures import PLACES, coverage, distance_of_ends, diversity, neighbours, sharpness, verdicts
from emoji_prompts import Case, Prompts
from frechet import frechet

from unnoise.data import scenes
from unnoise.data.open import open_source
from unnoise.data.recolour import COLOURS
from unnoise.data.view import View, render_views
from unnoise.generation.decode import to_images
from unnoise.generation.request import Request

WHOLE_SET = open_source("emoji", 64)
NAMES = {names[0] for names in WHOLE_SET.captions}
FEW = WHOLE_SET.subset([i for i in range(0, len(WHOLE_SET)) if WHOLE_SET.captions[i][0] in sorted(NAMES)[::25]])
LABELS, PROMPTS = Labels(FEW), Prompts(FEW)
FIVE_NAMES = [i for i, names in enumerate(FEW.captions) if names[0] in sorted(NAMES)[25:250:50]]


class Oracle:
    """Judge the name and the style of images by the nearest of all real ones on white; it knows no colours."""

    def __init__(self) -> None:
        self.names = [LABELS.number_of[names[0]] for names in FEW.captions]
        self.pixels = F.avg_pool2d(render_views(FEW, [View(i, "") for i in range(len(FEW))]), 4).flatten(1)

    def __call__(self, images: Tensor) -> Judged:
        far = torch.cdist(F.avg_pool2d(images, 4).flatten(1), self.pixels)
        nearest = far.argmin(1).tolist()
        names = torch.full((len(images), len(LABELS.names)), -9.0)
        styles = torch.full((len(images), len(LABELS.styles)), -9.0)
        for row, i in enumerate(nearest):
            names[row, self.names[i]] = -0.1
            styles[row, LABELS.styles.index(FEW.styles[i])] = -0.1
        return Judged(names, styles, torch.zeros(len(images), len(COLOURS)), -far)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


def blurred(images: Tensor) -> Tensor:
    return F.interpolate(F.avg_pool2d(images, 8), scale_factor=8, mode="bilinear")


def share(cases: Sequence[Case], images: Tensor, judge: Oracle) -> float:
    found = verdicts(images, cases, judge, LABELS)
    return sum(one.right for one in found) / len(found)


@pytest.mark.parametrize("name", ["colours", "backgrounds"])
def test_the_nearest_is_looked_for_in_the_colour_that_was_asked_for(name: str) -> None:
    cases = PROMPTS.sets[name](5)
    real = emoji.real_views(cases, FEW)
    found, shuffled, blur = (neighbours(x, cases, FEW) for x in (real, real.roll(1, 0), blurred(real)))
    assert found.share == 1
    assert found.ratio < 0.05, "a copy in another colour is a copy"
    assert blur.ratio > 0.3
    assert shuffled.share <= 0.2


@pytest.mark.parametrize("name", ["names", "styles", "pictures", "pairs"])
def test_real_views_are_right_and_shuffled_ones_are_not(name: str, oracle: Oracle) -> None:
    cases = PROMPTS.sets[name](24)
    real = emoji.real_views(cases, FEW)
    assert share(cases, real, oracle) >= 0.9
    assert share(cases, real.roll(1, 0), oracle) <= 0.1
    near, far = (neighbours(x, cases, FEW) for x in (real, real.roll(1, 0)))
    assert near.share >= 0.9 > 0.1 >= far.share


def test_an_arrangement_is_right_only_where_it_was_asked_for(oracle: Oracle) -> None:
    cases = [case for case in PROMPTS.sets["pairs"](60) if not any(case.relation.adjectives)][:24]
    found = verdicts(emoji.real_views(cases, FEW), cases, oracle, LABELS)
    named = [one for one in found if one.named]
    assert len(named) >= 20
    assert sum(one.arranged for one in named) / len(named) >= 0.9
    swapped = [replace(case, view=replace(case.view, things=_swapped(case))) for case in cases]
    for case, one in zip(cases, verdicts(emoji.real_views(swapped, FEW), cases, oracle, LABELS), strict=True):
        ordered = any(word in case.template for word in ("left", "right", "above", "over", "top", "under", "below"))
        assert not one.named or one.arranged != ordered


def _swapped(case: Case) -> tuple:
    first, second = case.view.things
    return replace(first, place=second.place), replace(second, place=first.place)


def test_backgrounds_are_judged_by_their_border(oracle: Oracle) -> None:
    cases = PROMPTS.sets["backgrounds"](24)
    real = emoji.real_views(cases, FEW)
    assert all(one.bordered for one in verdicts(real, cases, oracle, LABELS))
    white = render_views(FEW, [View(case.view.index, "") for case in cases])
    assert not any(one.bordered for one in verdicts(white, cases, oracle, LABELS))


def test_a_blur_is_less_sharp_and_far_from_its_picture(oracle: Oracle) -> None:
    cases = PROMPTS.sets["pictures"](24)
    real = emoji.real_views(cases, FEW)
    assert sharpness(blurred(real)) < 0.1 * sharpness(real)
    assert neighbours(real, cases, FEW).ratio < 0.01
    assert neighbours(blurred(real), cases, FEW).ratio > 0.5


def test_a_copied_sample_has_no_diversity() -> None:
    x = torch.randn(3, 4, 3, 64, 64)
    copied = x[:, :1].expand(-1, 4, -1, -1, -1)
    assert diversity(copied) == 0
    assert diversity(x) == pytest.approx(diversity(x.flip(1)))
    assert diversity(torch.cat([copied[:, :2], x[:, 2:]], 1)) < diversity(x)


def test_coverage_falls_where_modes_are_missing() -> None:
    teacher = torch.cat([torch.randn(60, 4), torch.randn(60, 4) + 40])
    whole, half = torch.cat([torch.randn(60, 4), torch.randn(60, 4) + 40]), torch.randn(120, 4)
    assert coverage(teacher, teacher) == 1
    assert coverage(whole, teacher) > 0.9
    assert 0.4 < coverage(half, teacher) <= 0.5
    assert coverage(whole + 400, teacher) == 0


def test_distances() -> None:
    x = torch.randn(5, 2, 4, 4)
    assert distance_of_ends(x, x) == 0
    assert distance_of_ends(x, x + 0.5) == pytest.approx(0.5)
    one, other = (np.random.default_rng(seed).normal(size=(4000, 6)) for seed in (0, 1))
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet(one, other) < 0.02
    assert frechet(one, other + 1) == pytest.approx(6, rel=0.05)
    assert frechet(one, 2 * other) == pytest.approx(6, rel=0.1)


def test_what_is_cut_out_is_the_thing() -> None:
    relation = scenes.RELATIONS[0]
    case = next(case for case in PROMPTS.sets["pairs"](40) if case.relation == relation)
    (scene,) = emoji.real_views([case], FEW)
    left, alone = cut(scene[None], [relation.first]), render_views(FEW, [View(case.view.things[0].index, "")])
    shown = F.interpolate(alone, scale_factor=1 / 1.08, mode="bilinear", antialias=True)
    framed = F.pad(shown, (2, 3, 2, 3), value=1)
    difference = F.avg_pool2d(left, 4) - F.avg_pool2d(framed, 4)
    assert difference[..., 2:-2, 2:-2].abs().mean() < 0.15
    torch.testing.assert_close(cut(alone, [WHOLE]), alone, atol=1e-4, rtol=0)
    assert len(PLACES) == len(set(PLACES)) == 10


def test_a_judge_learns_names_styles_and_colours_of_a_few() -> None:
    few = Labels(FEW.subset(FIVE_NAMES))
    figures = accuracy(train_judge(few, steps=20, batch=24), few, 128)
    assert figures.keys() == {f"{head}, {where}" for head in HEADS for where in ("whole", "cut out")}
    assert figures["name, whole"] > 0.5  # by chance 0.2
    assert figures["name, cut out"] > 0.4


def test_a_judge_is_kept_for_the_images_that_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Labels] = []

    def train(labels: Labels) -> emoji_features.Judge:
        trained.append(labels)
        return emoji_features.Judge(len(labels.names), len(labels.styles))

    monkeypatch.setattr(emoji_features, "train_judge", train)
    dataset = FEW.subset(FIVE_NAMES)
    darker = replace(dataset, read=lambda i: dataset.read(i) // 2)
    renamed = replace(dataset, captions=(*dataset.captions[1:], dataset.captions[0]))
    for changed in (dataset, dataset, darker, darker, renamed):
        emoji_features.trained_judge(Labels(changed), tmp_path)
    assert [labels.dataset for labels in trained] == [dataset, darker, renamed]
    monkeypatch.setattr(emoji_features, "STEPS", 5)
    emoji_features.trained_judge(Labels(renamed), tmp_path)
    assert len(trained) == 4


def test_samples_of_training_and_of_the_test_differ_and_are_seeded() -> None:
    assert LABELS.sample(5, TEST) == LABELS.sample(5, TEST) != LABELS.sample(5, 0)
    samples = [LABELS.sample(n, TEST) for n in range(300)]
    assert 0.25 < sum(one.place != WHOLE for one in samples) / 300 < 0.45
    assert 0.15 < sum(one.colour != IGNORED for one in samples) / 300 < 0.45
    assert rendered(LABELS, samples[:3]).shape == (3, 3, 64, 64)


class Perfect:
    """Generate the real view of each prompt, a little darker for later seeds."""

    def __init__(self, count: int) -> None:
        self.views = {case.prompt: case.view for draw in PROMPTS.sets.values() for case in draw(count)}
        self.card = SimpleNamespace(advice=SimpleNamespace(steps=20))

    def run(self, *requests: Request) -> list[SimpleNamespace]:
        x = render_views(FEW, [self.views[one.prompts[0]] for one in requests])
        x -= 1e-3 * torch.tensor([one.sampling.seed for one in requests])[:, None, None, None]
        return [SimpleNamespace(x0=one, image=image) for one, image in zip(x, to_images(x.clamp(-1, 1)), strict=True)]


@pytest.mark.parametrize("script", [emoji, distill])
def test_a_perfect_model_is_right(
    script: ModuleType,
    oracle: Oracle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script, "open_source", lambda *_: FEW)
    monkeypatch.setattr(script, "trained_judge", lambda *_: SimpleNamespace(judge=oracle))
    monkeypatch.setattr(script.unnoise, "load", lambda _: Perfect(16))
    given = "a --count 16 --sets styles pairs" if script is emoji else "a b --prompts 4 --seeds 2"
    monkeypatch.setattr(sys, "argv", ["x", *given.split(), "--folder", str(tmp_path)])
    if script is emoji:
        monkeypatch.setattr(emoji, "accuracy", lambda *_: {"name": 0.5})
    script.main()
    out = capsys.readouterr().out
    assert "| " in out
    found = json.loads((tmp_path / f"{script.__name__}.json").read_text())
    if script is emoji:
        assert found["figures"]["styles"]["styled"] == 1
        assert found["counts"]["pairs"] == 16
        assert found["figures"]["pairs"]["named"] >= 0.8
        real = {name.removesuffix(", real"): row for name, row in found["real"].items()}
        assert {name: row["right"] for name, row in found["figures"].items()} == {
            name: row["right"] for name, row in real.items()
        }
        assert "judge, name: 50.0%" in out
    else:
        row = found["rows"]["student, 2"]
        assert (row["ends"], row["points"], row["arranged"], row["coverage"]) == (0, 0, 0, 1)
        assert row["sharpness"] == row["Fréchet"] == row["diversity"] == pytest.approx(1)
        assert (tmp_path / "distill.png").exists()


def test_a_student_and_its_teacher_are_drawn_from_the_same_noises_which_all_differ() -> None:
    cases = [Case(prompt, View(0, ""), (frozenset({"a"}),)) for prompt in ("a cat", "a dog", "a cat")]
    model = tiny.pipeline()
    one, other = (distill.drawn(model, cases, 2, steps, "") for steps in (1, 2))
    assert one.x0.shape == (3, 2, 4, 4, 4)
    assert one.images.shape == (3, 2, 3, 16, 16)
    every = one.x0.flatten(0, 1)
    assert torch.cdist(every.flatten(1), every.flatten(1)).fill_diagonal_(1).min() > 0.01
    again = distill.drawn(model, cases, 2, 2, "")
    assert torch.equal(other.x0, again.x0)
    torch.testing.assert_close(one.x0[1, 1], model.generate("a dog", seed=3, steps=1)[0].x0)


def test_a_student_that_swaps_two_things_loses_points(oracle: Oracle) -> None:
    cases = [case for case in PROMPTS.pairs(60) if not case.either_side and not any(case.relation.adjectives)][:12]
    swapped = [replace(case, view=replace(case.view, things=_swapped(case))) for case in cases]
    base, row = (distill.Drawn(x, x) for x in (emoji.real_views(part, FEW)[:, None] for part in (cases, swapped)))
    found = distill.Comparison(cases, base.images[:, 0], base, oracle, LABELS)
    assert found._shares(row) == (found._shares(base)[0], 0)
    assert found._shares(base)[1] > 0.9


def test_numbers_that_are_not_reached_are_said() -> None:
    rows = {"names": {"named": 0.99, "sharpness": 1.2}, "pairs": {"named": 0.71, "arranged": 0.2}}
    assert [line for line in emoji.targets(rows) if line.endswith("NOT REACHED")] == [
        "pairs, arranged: 0.200, at least 0.85: NOT REACHED",
        "names, sharpness: 1.200, at least 0.85, at most 1.1: NOT REACHED",
    ]
    assert emoji.table(rows).count("\n") == 3
    good = {"points": -1.0, "sharpness": 0.95, "Fréchet": 1.05, "diversity": 0.97, "ends": 0.1}
    student = {f"student, {calls}": good for calls in (1, 2, 4)} | {"teacher, 4": good | {"ends": 0.3}}
    assert not any("NOT" in line for line in distill.targets(student, (1, 2, 4)))
    worse = student | {"student, 2": good | {"points": -3.1, "ends": 0.2, "Fréchet": 1.31}}
    assert sum("NOT REACHED" in line for line in distill.targets(worse, (1, 2, 4))) == 3
