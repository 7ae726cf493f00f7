"""Recipes: the bounds and defaults of every field, and the learning rate of every step."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest

from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import AutoencoderOptions, DataOptions, DenoiserOptions, TextOptions, TrainingRecipe

DEFAULTS: dict[type, dict[str, Any]] = {
    DataOptions: {
        "size": 64, "channels": 3, "buckets": False, "views": 8, "strict": False, "captions": "auto", "labels": "",
        "background": "white", "workers": 0, "cache": "", "validation": "auto",
    },
    FitOptions: {
        "batch": 32, "learning_rate": 1e-3, "warmup": 200, "decay": 0.5, "optimizer": "adamw", "clip": 1.0,
        "weight_decay": 0.0, "betas": (0.9, 0.99), "precision": "auto", "compile": "auto",
        "channels_last": "auto", "micro_batch": 0, "shard": False,
        "exact": False, "exact_shards": 4, "exact_threads": 1,
    },
    AutoencoderOptions: {"fit": None, "source": "", "args": {}, "edges": 1.0, "kl": 1e-4},
    TextOptions: {
        "vocab": 2048, "width": 192, "depth": 2, "heads": 4, "length": 32, "embedding_learning_rate_multiple": 1.0,
        "learning_rate_multiple": 1.0, "fit": None, "plain": 0.7, "captions": 1, "keywords": None,
    },
    DenoiserOptions: {
        "kind": "flow", "weighting": "flow", "level_mean": 0.0, "level_std": 1.0, "caption_dropout": None,
        "text": None, "init": "", "gradient_checkpointing": False, "patch": 1,
    },
    CheckpointOptions: {
        "ema_lengths": (0.05, 0.1), "ema_length": 0.05, "ema_every": 4, "snapshot_every": 1000, "every": 500,
        "sheet_every": 1000, "validate_every": 250,
    },
    TrainingRecipe: {"autoencoder": None, "prompts": (), "seed": 1, "licence": "unknown"},
}  # fmt: skip


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_defaults(kind: Any) -> None:
    """A recipe that leaves a field out is the same recipe with every version; a change here changes old recipes."""
    made = {one.name: one.default if one.default is not MISSING else one.default_factory for one in fields(kind)}
    values = {name: value() if callable(value) else value for name, value in made.items() if value is not MISSING}
    assert {name: value for name, value in values.items() if not is_dataclass(value)} == DEFAULTS[kind]


@pytest.mark.parametrize(("name", "low", "high"), [("size", 8, 4096), ("views", 1, 1024)])
def test_ranges_of_data(name: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(DataOptions("emoji", **{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(InputError, match=f"{name} {value}: a whole number from {low} to {high}"):
            DataOptions("emoji", **{name: value})


def test_ranges_of_an_optimizer() -> None:
    FitOptions(1, 1, decay=0.0)
    FitOptions(1, 1, decay=1.0)
    for options in ({"steps": 0}, {"batch": 0}):
        with pytest.raises(InputError, match=r"(steps|batch) 0: at least 1"):
            FitOptions(**{"steps": 1, **options})
    for decay in (-1e-9, 1 + 1e-9):
        with pytest.raises(InputError, match="a share of the steps, 0 to 1"):
            FitOptions(1, decay=decay)


def test_the_weights_of_each_network_are_averaged_at_least_once() -> None:
    net = Part("UNet"), Part("Flow")
    enough, short = FitOptions(4), FitOptions(3)
    TrainingRecipe("a", DataOptions("emoji"), DenoiserOptions(enough, *net), AutoencoderOptions(enough))
    with pytest.raises(InputError, match=r"fit.steps 3: at least checkpoints.ema_every, 4 steps"):
        TrainingRecipe("a", DataOptions("emoji"), DenoiserOptions(short, *net))
    with pytest.raises(InputError, match=r"fit.steps 3: at least checkpoints.ema_every, 4 steps"):
        TrainingRecipe("a", DataOptions("emoji"), DenoiserOptions(enough, *net), AutoencoderOptions(short))


def test_the_learning_rate_rises_is_constant_and_falls_to_zero() -> None:
    fit = FitOptions(steps=100, learning_rate=2.0, warmup=10, decay=0.4)
    expected = {0: 0.2, 4: 1.0, 8: 1.8, 9: 2.0, 10: 2.0, 60: 2.0, 61: 2 * 39 / 40, 80: 1.0, 99: 0.05}
    assert {step: fit.learning_rate_at(step) for step in expected} == pytest.approx(expected)
    plain = FitOptions(steps=100, learning_rate=2.0, warmup=0, decay=0.0)
    assert {plain.learning_rate_at(step) for step in range(100)} == {2.0}
    both = FitOptions(steps=4, learning_rate=1.0, warmup=4, decay=1.0)
    assert [both.learning_rate_at(step) for step in range(4)] == pytest.approx([1 / 4, 3 / 8, 3 / 8, 1 / 4])
