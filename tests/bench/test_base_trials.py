"""Every trial of the embedded model's recipe is a model that can be built, and differs from the recipe."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import base_trials as trials

from unnoise import model_file
from unnoise.data.open import open_source
from unnoise.text.tokenizer import train
from unnoise.train.recipe import read_recipe
from unnoise.train.training_card import make_card

BASE = read_recipe(trials.RECIPE)
DATASET = open_source("emoji", 64)


@pytest.mark.parametrize("name", trials.TRIALS)
def test_a_trial_is_a_model(name: str) -> None:
    one = trials.TRIALS[name]
    recipe = trials.varied(BASE, one, Path("model.safetensors"), Path("runs"), "float32")
    plain = trials.varied(BASE, trials.Trial(), Path("model.safetensors"), Path("runs"), "float32")
    assert recipe != plain or name == "the recipe" or one.captions_first or one.fit == {"precision": "float32"}
    whole = replace(recipe, autoencoder=BASE.autoencoder)  # that of the trial is read from a file
    components = model_file.build(make_card(whole, DATASET, train(["a red heart"] * 9, 300)), device="meta")
    width, height = components.card.advice.sizes[0]
    assert components.denoiser.net.factor * components.space.factor <= min(width, height)
