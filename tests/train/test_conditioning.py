"""Training without captions: on labels, on nothing, from the weights of another model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.card import Part
from unnoise.data.shuffle import members_of
from unnoise.loading import load
from unnoise.model_file import build
from unnoise.pipeline import Pipeline
from unnoise.train import gradient_checkpointing as checkpointing
from unnoise.train.denoiser import SAMPLES, DenoiserTask
from unnoise.train.encoding import pooled
from unnoise.train.fit_options import FitOptions
from unnoise.train.latents import Latents
from unnoise.train.recipe import DataOptions, DenoiserOptions, TrainingRecipe
from unnoise.train.train_recipe import train_recipe
from unnoise.train.training_card import make_card

NET = {"channels": 1, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]}
CLASSES = ("black", "white")


class Silent:
    """A report of nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright pictures, a folder each."""
    made, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for name, low in zip(CLASSES, (0, 200), strict=True):
        (made / name).mkdir()
        for k in range(3):
            Image.fromarray(random.integers(low, low + 50, (8, 8), np.uint8)).save(made / name / f"{k}.png")
    return made


def recipe_of(folder: Path, labels: bool, steps: int = 4, **more: object) -> TrainingRecipe:
    data = DataOptions(
        str(folder), 8, 1, channels=1, captions="none", labels="folders" if labels else "", validation=0.0
    )
    net = Part("UNet", NET | ({"labels": 3} if labels else {}))
    fit = FitOptions(steps, 8, 5e-3, warmup=1, decay=0.3)
    return TrainingRecipe("tones", data, DenoiserOptions(fit, net, Part("Flow"), **more))  # type: ignore[arg-type]


def run(recipe: TrainingRecipe, folder: Path) -> Pipeline:
    return load(train_recipe(recipe, folder, torch.device("cpu"), False, Silent()))  # type: ignore[arg-type]


def test_each_class_is_learnt(folder: Path, tmp_path: Path) -> None:
    pipeline = run(recipe_of(folder, True, 80), tmp_path)
    assert pipeline.card.labels == CLASSES
    assert pipeline.card.training["caption_dropout"] == 0.1
    assert pipeline.card.training["classes"] == 2
    black, white = pipeline.generate(CLASSES, n=4, seed=1, steps=8, progress=False)[::4]
    tone = [float(np.asarray(one.image).mean()) for one in (black, white)]
    assert tone[0] < 80 < 180 < tone[1]


def test_without_labels_nothing_is_conditioned(folder: Path, tmp_path: Path) -> None:
    pipeline = run(recipe_of(folder, False), tmp_path)
    assert (pipeline.text_encoder, pipeline.card.prompted, pipeline.card.advice.guidance_scale) == (None, False, 1.0)
    assert "caption_dropout" not in pipeline.card.training
    with Image.open(tmp_path / "denoiser/sheet-000004.png") as sheet:
        assert sheet.width * sheet.height > SAMPLES * 8 * 8


def test_a_label_that_is_dropped_is_that_of_no_class(folder: Path) -> None:
    recipe = recipe_of(folder, True, caption_dropout=0.5)
    dataset = recipe.data.open()
    pipeline = Pipeline.of(build(make_card(recipe, dataset, None)))
    labels = torch.tensor([CLASSES.index(name) for name in dataset.labels])
    x0 = torch.zeros(len(dataset), 1, 1, 8, 8)
    latents = Latents(x0, members_of(dataset.concepts, range(len(dataset))), labels=labels)
    task = DenoiserTask(recipe, [latents], pipeline, [*CLASSES])
    kept = torch.tensor([True, False, True])
    label = task.conditioning(latents, [0, 1, 5], [0, 0, 0], kept).label
    assert label is not None
    assert label.tolist() == [0, 2, 1]
    assert task.options.dropout == 0.5


def test_a_training_starts_from_the_weights_of_a_model(folder: Path, tmp_path: Path) -> None:
    first = run(recipe_of(folder, True, 8), tmp_path / "first")
    still = recipe_of(folder, True, init=str(tmp_path / "first/tones.safetensors"))
    still = replace(still, denoiser=replace(still.denoiser, fit=replace(still.denoiser.fit, learning_rate=1e-12)))
    second = run(still, tmp_path / "second")
    for name, value in first.denoiser.net.state_dict().items():
        assert torch.equal(second.denoiser.net.state_dict()[name], value), name
    assert second.card.space == first.card.space
    assert second.card.training["init"] == f"tones {first.card.fingerprint[:12]}"


def test_images_of_each_shape_are_trained_in_batches_of_their_own(tmp_path: Path) -> None:
    random, sizes = np.random.default_rng(0), [(48, 24)] * 3 + [(24, 48)] * 2 + [(32, 32)]
    (tmp_path / "data").mkdir()
    for k, (width, height) in enumerate(sizes):
        Image.fromarray(random.integers(0, 255, (height, width), np.uint8)).save(tmp_path / f"data/{k}.png")
    recipe = recipe_of(tmp_path / "data", False, 6)
    recipe = replace(recipe, data=replace(recipe.data, size=32, buckets=True))
    pipeline = run(recipe, tmp_path / "run")
    advised = pipeline.card.advice.sizes
    assert advised[0] == (32, 32)
    assert len(advised) == 3
    assert {width > height for width, height in advised[1:]} == {True, False}
    for size in advised:
        assert pipeline.generate(size=size, steps=2, progress=False)[0].image.size == size
        assert abs(size[0] * size[1] - 32 * 32) < 0.1 * 32 * 32
    assert (tmp_path / "run/denoiser/sheet-000006.png").exists()


def test_a_batch_is_of_one_bucket_and_a_row_does_not_depend_on_the_others(folder: Path) -> None:
    recipe = recipe_of(folder, False)
    pipeline = Pipeline.of(build(make_card(recipe, recipe.data.open(), None)))
    buckets = [
        Latents(torch.randn(count, 2, 1, *size), members_of([str(k) for k in range(count)], range(count)))
        for count, size in ((5, (8, 8)), (3, (4, 16)))
    ]
    task = DenoiserTask(recipe, buckets, pipeline, [""])
    torch.nn.init.normal_(task.denoiser.net.leave.weight, std=0.1)  # type: ignore[arg-type, union-attr]
    shapes = set()
    task.denoiser.net.register_forward_pre_hook(lambda net, inputs: shapes.add(inputs[0].shape))
    for step in range(8):
        whole = task.loss(step, range(8))
        parts = torch.cat([task.loss(step, range(3)), task.loss(step, range(3, 8))])
        assert torch.allclose(whole, parts, atol=1e-5)
    assert {(8, 1, 8, 8), (8, 1, 4, 16)} <= shapes


def test_moments_of_parts_are_those_of_the_whole() -> None:
    one, two = torch.randn(4, 2, 6, 6).double(), 3 + 2 * torch.randn(9, 2, 2, 4).double()
    parts = [
        (part.numel(), part.mean((0, 2, 3)).tolist(), part.std((0, 2, 3), correction=0).tolist()) for part in (one, two)
    ]
    whole = torch.cat([part.transpose(0, 1).flatten(1) for part in (one, two)], dim=1)
    mean, scale = pooled(parts)
    assert mean == pytest.approx(whole.mean(1).tolist())
    assert scale == pytest.approx(whole.std(1, correction=0).tolist())


def test_gradient_checkpointing_changes_no_weight(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(recipe_of(folder, True), tmp_path / "plain")
    stages = []
    made = checkpointing._checkpoint
    monkeypatch.setattr(checkpointing, "_checkpoint", lambda module: (stages.append(module), made(module))[1])
    less = run(recipe_of(folder, True, gradient_checkpointing=True), tmp_path / "less")
    assert plain.card.fingerprint == less.card.fingerprint
    assert len(stages) == 3
