"""Validation of a LoRA: held-out images of several sizes, at fixed noise, and without its dropout."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.data.dataset import ImageDataset
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.ema_choice import read_choice
from unnoise.train.fit_options import FitOptions
from unnoise.train.lora import train_lora
from unnoise.train.recipe import DataOptions
from unnoise.train.task import Progress

CPU = torch.device("cpu")


class Kept:
    """A report that keeps the progress."""

    def __init__(self) -> None:
        self.seen = list[Progress]()
        self.step = self.seen.append

    def opened(self, dataset: ImageDataset) -> None:
        self.dataset = dataset

    def stage(self, name: str, total: int) -> None:
        pass

    def encoded(self, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> AdapterRecipe:
    folder = tmp_path_factory.mktemp("validation")
    random = np.random.default_rng(0)
    for i in range(12):
        height, width = ((32, 32), (32, 64))[i % 2]
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"dog {i}")
    tiny.saved(folder / "base.safetensors")
    return AdapterRecipe(
        name="dog",
        base=str(folder / "base.safetensors"),
        data=DataOptions(str(folder), size=32, views=2, validation=0.5),
        fit=FitOptions(steps=4, batch=2, warmup=1, learning_rate=1e-30, decay=0.0, precision="float32"),
        lora=LoraOptions(rank=2, alpha=2.0, dropout=0.5),
        prompts=("a dog",),
        checkpoints=CheckpointOptions(snapshot_every=2, every=4, sheet_every=9, ema_every=1, validate_every=2),
    )


def test_held_out_images_of_two_sizes_give_the_same_bits_after_any_step(recipe: AdapterRecipe, tmp_path: Path) -> None:
    report = Kept()
    chosen = replace(recipe, checkpoints=replace(recipe.checkpoints, ema_length="auto"))
    path = train_lora(chosen, tmp_path, CPU, False, report)
    assert (len(report.dataset), report.dataset.held_out) == (6, 6)
    first, second = (one for one in report.seen if one.validation is not None)
    assert (first.step, second.step) == (2, 4)
    assert first.validation == second.validation
    assert first.validation_by_level == second.validation_by_level
    assert len(set(first.validation_by_level)) == 8
    choice = read_choice(tmp_path / "adapter")
    assert choice is not None
    assert [loss for _, loss in choice.tried] == pytest.approx([first.validation] * 5)
    facts = json.loads(read_header(path).metadata["unnoise.lora"])["training"]
    assert (facts["pictures"], facts["held_out"], facts["ema"]) == (6, 6, choice.length)
    assert facts["validation_loss"] == pytest.approx(first.validation, rel=1e-5)


def test_a_length_cannot_be_chosen_without_held_out_images(recipe: AdapterRecipe, tmp_path: Path) -> None:
    options = replace(recipe.checkpoints, ema_length="auto")
    without = replace(recipe, checkpoints=options, data=replace(recipe.data, validation="auto"))
    with pytest.raises(InputError, match="is chosen on held-out images, and none are"):
        train_lora(without, tmp_path, CPU, False, Kept())
