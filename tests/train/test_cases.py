"""Every recipe of recipes/cases/ trains: made small, it runs a few steps from a folder to a file that generates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.card import Part
from unnoise.loading import load
from unnoise.train.finetune_recipe import FineTuneRecipe
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import TextOptions, TrainingRecipe, parse_recipe, read_recipe
from unnoise.train.train_recipe import train_recipe

HOME = Path(__file__).resolve().parents[2] / "recipes" / "cases"
FINE_TUNING = HOME / "finetune.toml"
CASES = sorted({*HOME.glob("*.toml")} - {FINE_TUNING})
FIT = FitOptions(steps=4, batch=2, warmup=1)
TEXT = TextOptions(vocab=258, width=16, depth=1, heads=2, length=16)
SMALL = {  # of the arguments that a recipe has
    "widths": [32, 32], "depths": [1, 1], "heads": [0, 2], "width": 64, "depth": 1, "context": 16, "vector": 16,
    "labels": 3,
}  # fmt: skip


class Silent:
    """A report of nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two classes, of two images each, with captions."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("red", "blue"):
        (folder / name).mkdir()
        for k in range(2):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / name / f"{k}.png")
            (folder / name / f"{k}.txt").write_text(f"a {name} square")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of ours."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    tiny.saved(path)
    return path


def small(recipe: TrainingRecipe, pictures: Path, model: Path) -> TrainingRecipe:
    """Make a recipe small: its images, networks and steps, but no choice of it."""
    options, coder, data = recipe.denoiser, recipe.autoencoder, recipe.data
    args = options.net.args | {name: value for name, value in SMALL.items() if name in options.net.args}
    net = Part(options.net.class_, args)
    if options.init:
        net, options = tiny.CARD.net, replace(options, kind=tiny.CARD.kind)
    if coder is not None and coder.source:
        coder = replace(coder, source=str(model))
    elif coder is not None:
        coder = replace(coder, args={"width": 32, "encode": 1, "decode": 1}, fit=FIT)
    return replace(
        recipe,
        data=replace(data, source=str(pictures), size=16),
        denoiser=replace(
            options,
            net=net,
            fit=replace(FIT, optimizer=options.fit.optimizer),
            text=options.text and TEXT,
            init=options.init and str(model),
        ),
        autoencoder=coder,
        advice=replace(recipe.advice, steps=2),
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_trains(path: Path, pictures: Path, model: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    made = train_recipe(small(recipe, pictures, model), tmp_path, torch.device("cpu"), False, Silent())
    pipeline = load(made)
    prompt = "a red square" if pipeline.card.text else "red" if pipeline.card.labels else ""
    image = pipeline.generate(prompt, steps=2, progress=False)[0].image
    assert image.size == (16, 16)
    assert (image.mode == "L") == (recipe.data.channels == 1)
    assert (pipeline.card.autoencoder is None) == (recipe.autoencoder is None and not recipe.denoiser.init)


def test_fine_tuning_is_read() -> None:
    """tests/integrations/test_foreign_training.py trains such a recipe."""
    recipe = parse_recipe(FineTuneRecipe, FINE_TUNING)
    assert (recipe.name, recipe.denoiser.gradient_checkpointing) == ("finetune", True)
