"""A distillation end to end: its file, its resumption, what stops it and what it refuses."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

from unnoise.card import Part
from unnoise.cli.distill import EPILOGUE
from unnoise.cli.main import main
from unnoise.data.dataset import ImageDataset
from unnoise.distill.collapse import HIGH, LOW, CollapseWatch, SampleFigures
from unnoise.distill.consistency import ConsistencyTask
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.distill.match_options import MatchOptions
from unnoise.distill.recipe import DistillRecipe, read_distill_recipe
from unnoise.distill.train_distill import train_distill
from unnoise.errors import CollapseError, InputError, NonFiniteError
from unnoise.formats.header import read_header
from unnoise.loading import load
from unnoise.train.task import Progress

RECIPE = """
name = "fast"
teacher = "{teacher}"
guidance = [1.0, 4.0]
seed = 3
prompts = {prompts}

[data]
source = "{source}"
size = 16
views = 2

[fit]
steps = 6
batch = 4
warmup = 2

[checkpoints]
snapshot_every = 3
every = 2
sheet_every = 6
ema_every = 2
validate_every = 3

[consistency]
doublings = 3
"""
PLAIN_NET = {"widths": [32, 32], "depths": [1, 1], "heads": [0, 0]}
COLOURS = ("red", "green", "blue", "black")


class Quiet:
    """Report nothing, or stop after so many steps, as a kill does."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.name = stop, ""

    def opened(self, dataset: ImageDataset) -> None:
        pass

    def stage(self, name: str, total: int) -> None:
        self.name = name

    def step(self, progress: Progress) -> None:
        if progress.step == self.stop:
            raise KeyboardInterrupt

    def encoded(self, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, coloured squares with captions in folders of two classes, and a recipe."""
    folder = tmp_path_factory.mktemp("distill")
    tiny.saved(folder / "tiny.safetensors")
    for i, colour in enumerate(COLOURS):
        own = folder / "squares" / ("warm" if colour == "red" else "cold")
        own.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), colour).save(own / f"{i}.png")
        (own / f"{i}.txt").write_text(f"a {colour} square")
    (folder / "recipe.toml").write_text(text_of(folder))
    return folder


def text_of(place: Path, prompts: str = '["a red square"]') -> str:
    return RECIPE.format(teacher=place / "tiny.safetensors", source=place / "squares", prompts=prompts)


@pytest.fixture(scope="module")
def recipe(place: Path) -> DistillRecipe:
    return read_distill_recipe(place / "recipe.toml")


def distil(recipe: DistillRecipe, folder: Path, resume: bool = False, stop: int | None = None) -> Path:
    return train_distill(recipe, folder, torch.device("cpu"), resume, Quiet(stop))


def weights_sha256(path: Path) -> str:
    header = read_header(path)
    return hashlib.sha256(path.read_bytes()[min(entry.start for entry in header.tensors.values()) :]).hexdigest()


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The file of an uninterrupted run of the command."""
    assert main(["distill", str(place / "recipe.toml"), "--out", str(place / "whole")]) == 0
    return place / "whole" / "fast.safetensors"


def test_the_student_is_an_ordinary_model(whole: Path, recipe: DistillRecipe) -> None:
    student = load(whole)
    distilled = student.card.distilled
    assert distilled is not None
    assert (distilled.method, distilled.teacher, distilled.steps) == ("consistency", "tiny", (1, 2, 4))
    assert distilled.guidance_range == (1.0, 4.0)
    for steps in recipe.steps:
        sample = student.generate("a red square", steps=steps, seed=1, distilled_guidance=3.0)[0]
        assert len(student.plan("a red square", steps=steps).settings.grid) == steps + 1
        assert torch.equal(student.replay(sample.metadata).x0, sample.x0)
    assert student.card.training["student_seconds"] >= 0


def test_text_encoder_and_autoencoder_are_the_teachers(whole: Path, recipe: DistillRecipe) -> None:
    student, teacher = load(whole), load(recipe.teacher)
    for role in ("text", "autoencoder"):
        own, others = (one.networks()[role].state_dict() for one in (student, teacher))
        assert all(torch.equal(own[name], others[name]) for name in others)
    assert not all(
        torch.equal(student.denoiser.state_dict()[name], value) for name, value in teacher.denoiser.state_dict().items()
    )


def test_the_log_has_the_figures_of_samples_and_losses_by_level(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole.parent / "student" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "figures" in line] == [3, 6]
    assert {"deviation_1", "mean_4", "saturation_2"} <= lines[-1]["figures"].keys()
    assert len(lines[-1]["by_level"]) == 8
    assert (whole.parent / "student" / "sheet-000006.png").exists()


@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_run_ends_with_the_same_bits(stop: int, whole: Path, recipe: DistillRecipe, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        distil(recipe, tmp_path, stop=stop)
    assert weights_sha256(distil(recipe, tmp_path, resume=True)) == weights_sha256(whole)


def test_a_run_says_what_to_do_next(place: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", str(place / "recipe.toml"), "--out", str(whole.parent), "--resume"]) == 0
    said = capsys.readouterr()
    assert str(whole) in said.out
    assert f"--model {whole} --steps 1" in said.err
    assert main(["models", str(whole)]) == 0
    shown = capsys.readouterr().out
    assert "by consistency from tiny, for 1, 2, 4 calls" in shown
    assert "an input, 2 by default, trained from 1 to 4" in shown


def test_levels_can_change_after_the_training(whole: Path, recipe: DistillRecipe) -> None:
    assert recipe.consistency is not None
    lower = replace(recipe, consistency=replace(recipe.consistency, grid=(2.0, 0.8, 0.3)))
    before = weights_sha256(whole)
    path = distil(lower, whole.parent, resume=True)
    assert (weights_sha256(path), load(path).plan("a", steps=2).settings.grid[1]) == (before, 0.8)
    distil(recipe, whole.parent, resume=True)


def test_a_student_begins_from_another_of_its_teacher(whole: Path, recipe: DistillRecipe, tmp_path: Path) -> None:
    later = replace(recipe, init=str(whole), fit=replace(recipe.fit, steps=2))
    assert weights_sha256(distil(later, tmp_path / "later")) != weights_sha256(whole)
    with pytest.raises(InputError, match=r"init .*: is not distilled"):
        distil(replace(later, init=recipe.teacher), tmp_path / "none")


def test_matching_keeps_the_points_of_the_student_that_it_begins_from(recipe: DistillRecipe, tmp_path: Path) -> None:
    """A step without a learning rate changes nothing, so that both draw the same."""
    grid, fit = (3.0, 1.0, 0.3), replace(recipe.fit, steps=2, learning_rate=1e-30)
    still = replace(recipe, fit=fit, consistency=None, imitate=ImitateOptions(grid, points=3))
    first = distil(still, tmp_path / "first")
    then = distil(replace(still, init=str(first), imitate=None, match=MatchOptions(grid)), tmp_path / "then")
    one, other = load(first), load(then)
    assert one.card.net.args["points"] == other.card.net.args["points"] == 3
    drawn = [pipeline.generate("red", seed=1, steps=2)[0].x0 for pipeline in (one, other)]
    assert torch.equal(*drawn)
    with pytest.raises(InputError, match="init: its network has 3 points along a jump, and the student 1;"):
        distil(replace(recipe, init=str(first)), tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "data", "guidance"),
    [
        (
            {
                "labels": ("cold", "warm"), "text": None, "tokenizer": None,
                "net": Part("UNet", {**PLAIN_NET, "channels": 4, "labels": 3}),
            },
            {"labels": "folders", "captions": "none"},
            (2.0, 2.0),
        ),
        (
            {
                "text": None, "tokenizer": None, "autoencoder": None, "process": Part("VP"), "kind": "v",
                "space": Part("Pixels", {"patch": 2}),
                "net": Part("UNet", {**PLAIN_NET, "channels": 12}),
            },
            {"captions": "none"},
            (1.0, 1.0),
        ),
    ],
)  # fmt: skip
def test_teachers_of_classes_and_without_prompts(
    changes: dict[str, object],
    data: dict[str, str],
    guidance: tuple[float, float],
    recipe: DistillRecipe,
    tmp_path: Path,
) -> None:
    tiny.saved(tmp_path / "other.safetensors", **changes)
    assert recipe.data is not None
    other = replace(
        recipe,
        teacher=str(tmp_path / "other.safetensors"),
        guidance=guidance,
        prompts=(),
        data=replace(recipe.data, **data),
        steps=(1, 2),
        fit=replace(recipe.fit, steps=2),
    )
    student = load(distil(other, tmp_path / "run"))
    assert student.card.advice.distilled_guidance is None
    prompt = next(iter(student.card.labels), "")
    assert student.generate(prompt, steps=1)[0].image.size == (16, 16)


def test_a_teacher_that_changed_is_refused(place: Path, recipe: DistillRecipe, tmp_path: Path) -> None:
    teacher = shutil.copy(recipe.teacher, tmp_path / "t.safetensors")
    own = replace(recipe, teacher=str(teacher))
    with pytest.raises(KeyboardInterrupt):
        distil(own, tmp_path / "run", stop=1)
    tiny.saved(tmp_path / "t.safetensors", name="other", kind="v")
    with pytest.raises(InputError, match="was begun from another teacher"):
        distil(own, tmp_path / "run", resume=True)


def test_nan_stops_and_the_checkpoint_is_kept(
    recipe: DistillRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = ConsistencyTask.loss
    monkeypatch.setattr(
        ConsistencyTask, "loss", lambda task, step, rows: sound(task, step, rows) * (torch.nan if step == 4 else 1)
    )
    with pytest.raises(NonFiniteError, match=r"loss is nan at step 5.*the checkpoint of step 4 is kept"):
        distil(recipe, tmp_path)
    assert (tmp_path / "student" / "checkpoint.safetensors").exists()


def test_a_run_that_collapses_stops(recipe: DistillRecipe, tmp_path: Path) -> None:
    with pytest.raises(CollapseError, match=r"of the teacher's deviation after 3 steps.*the checkpoint of step 2"):
        distil(replace(recipe, fit=replace(recipe.fit, learning_rate=1.0)), tmp_path)


@pytest.mark.parametrize(
    ("shares", "ends"),
    [
        ([0.5, 0.8, 1.0, 0.9], False),  # rises from the mean of many pictures
        ([0.5, 0.3], True),
        ([0.5, 1.0, 0.65], True),
        ([0.5, 1.0, 1.5], True),
        ([1.6, 1.5, 1.2], False),
        ([1.6, 1.0, 1.5], True),
        ([0.5, 1.2, 0.72, 1.38], False),  # 0.7 and 1.4 of the teacher's, once it has been reached
    ],
)
def test_bounds_follow_the_best_so_far(shares: list[float], ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = iter([{"deviation_1": share} for share in [shares[0], *shares[1:]]])
    monkeypatch.setattr(CollapseWatch, "_figures", lambda watch: next(figures))
    monkeypatch.setattr("unnoise.distill.collapse.sample_figures", lambda *one, **more: None)
    watch = CollapseWatch(FakeTask())  # type: ignore[arg-type]
    for step in range(len(shares) - 2):
        watch(step)
    if ends:
        with pytest.raises(CollapseError, match="samples of 1 call have"):
            watch(9)
    else:
        watch(9)


class FakeTask:
    """What a watch needs of a task whose samples are given."""

    name, teacher_scale, prompts, size = "student", 1.0, ("a",), (16, 16)
    networks = torch.nn.ModuleDict()
    recipe = type("R", (), {"steps": (1,)})
    teacher, student = type("T", (), {"pipeline": None}), None


def test_the_help_and_the_page_state_the_bounds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")
    for text in (EPILOGUE, page):
        stated = " ".join(text.split())
        assert f"below {LOW:g} of the highest so far" in stated
        assert f"above {HIGH:g} of the lowest" in stated


def test_samples_are_measured_at_the_size_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = list[dict[str, object]]()

    def figures(pipeline: object, prompts: object, **how: object) -> SampleFigures:
        measured.append(how)
        return SampleFigures(0.0, 1.0, 0.0)

    monkeypatch.setattr("unnoise.distill.collapse.sample_figures", figures)
    CollapseWatch(FakeTask())(1)  # type: ignore[arg-type]
    size = (16, 16)
    assert measured == [{"guidance_scale": 1.0, "size": size}, *[{"steps": 1, "size": size}] * 2]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size", 15, "data.size 15: a multiple of"),
        ("channels", 1, "data.channels 1: 'tiny' has 3"),
        ("labels", "folders", "data.labels: 'tiny' takes prompts and no classes"),
        ("captions", "none", "has no captions, and 'tiny' takes prompts"),
        ("source", "prompts.txt", "consistency: needs images"),
    ],
)
def test_data_that_does_not_fit_the_teacher_is_refused(
    field: str, value: object, message: str, recipe: DistillRecipe, tmp_path: Path
) -> None:
    assert recipe.data is not None
    with pytest.raises(InputError, match=message):
        distil(replace(recipe, data=replace(recipe.data, **{field: value})), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["a red square"]', '["{}"]'.format("ab " * 40), "41 tokens, at most 16 are allowed"),
        ("ema_every = 2", 'ema_every = 2\nema_length = "auto"', "checkpoints.ema_length"),
        ("name =", "steps = [1, 9]\nname =", "steps .1, 9.: consistency.grid has levels for at most 4 calls"),
    ],
)
def test_recipes_that_cannot_run_end_in_one_line(
    old: str, new: str, message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text_of(place).replace(old, new))
    assert main(["distill", str(path), "--out", str(tmp_path / "run")]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(said) == 1
    assert re.search(message, said[0])
    assert not (tmp_path / "run" / "student").exists()
