"""Every trial of the embedded model's recipe is a model that can be built, and differs from the recipe."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import base_trials as trials

from unnoise import model_file
from unnoise.data.open import open_source
from unnoise.text.tokenizer import train
from unnoise.train.recipe import DataOptions, DenoiserOptions, TextOptions, TrainingRecipe, read_recipe
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


def test_a_text_encoder_that_is_trained_in_the_trial_has_the_rate_of_the_recipe() -> None:
    assert BASE.denoiser.text is not None
    assert BASE.denoiser.text.learning_rate_multiple != 1
    text = trials.varied(BASE, trials.Trial(), Path("model.safetensors"), Path("runs"), "float32").denoiser.text
    assert text is not None
    assert (text.fit, text.learning_rate_multiple) == (None, 1)


def test_every_trial_is_validated_at_the_same_noise_levels() -> None:
    options = [
        trials.varied(BASE, one, Path("model.safetensors"), Path("runs"), "float32").denoiser
        for one in trials.TRIALS.values()
    ]
    assert len({(one.level_mean, one.level_std, one.weighting, one.kind) for one in options}) == 1


@pytest.fixture
def small(tmp_path: Path) -> TrainingRecipe:
    """A recipe of the same kind for twelve pictures, and a model for its autoencoder."""
    (tmp_path / "pictures").mkdir()
    for k in range(12):
        Image.new("RGB", (16, 16), (20 * k, 255 - 20 * k, 90)).save(tmp_path / f"pictures/{k}.png")
        (tmp_path / f"pictures/{k}.txt").write_text(f"red heart {k}")
    tiny.saved(tmp_path / "model.safetensors")
    text = TextOptions(280, 16, 1, 2, 16, learning_rate_multiple=0.5, fit=BASE.denoiser.fit)
    fit = replace(BASE.denoiser.fit, batch=4)
    return replace(
        BASE,
        data=DataOptions(str(tmp_path / "pictures"), 16, validation=0.25),
        denoiser=DenoiserOptions(fit, tiny.CARD.net, tiny.CARD.process, text=text),
        advice=tiny.CARD.advice,
    )


def test_a_text_encoder_is_trained_on_captions_first(
    small: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "open_source", lambda *_: small.data.open())
    one = trials.TRIALS["text encoder on captions first"]
    recipe = trials.varied(small, one, tmp_path / "model.safetensors", tmp_path, "float32")
    begun = trials.with_captions_first(recipe, 0.1, tmp_path)
    start, captions = (model_file.load(tmp_path / name) for name in ("start/emoji.safetensors", "captions.safetensors"))
    same = {
        role: all(
            torch.equal(a, b) for a, b in zip(net.parameters(), captions.networks()[role].parameters(), strict=True)
        )
        for role, net in start.networks().items()
    }
    assert same == {"net": True, "autoencoder": True, "text": False}
    assert begun.denoiser.init == str(tmp_path / "captions.safetensors")
    lines = trials.trained(begun, trials.PROBED, tmp_path / "probe")
    assert len(lines) == trials.PROBED
    assert lines[-1]["validation"] > 0
