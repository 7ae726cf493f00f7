"""The figures of a finished run: what its card, its last lines, `models` and `inspect` say."""

import json
from pathlib import Path

import pytest
import torch

from unnoise.adapters.lora.compatibility import Base, LoraCard
from unnoise.cli.inspect import _trained
from unnoise.cli.models import _value
from unnoise.train.checkpoint import write_tensors
from unnoise.train.ema_choice import EmaChoice, write_choice
from unnoise.train.figures import duration, read_figures, speed, with_figures

CHOICE = EmaChoice(0.07, ((0.05, 0.31), (0.07, 0.29), (0.1, 0.3)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An autoencoder of one step, and a denoiser of twenty, beside folders that are no tasks."""
    for task, steps in (("autoencoder", 1), ("denoiser", 20)):
        lines = [{"step": k, "loss": float(k), "images_per_second": 90.5} for k in range(1, steps + 1)]
        (tmp_path / task).mkdir()
        (tmp_path / task / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        facts = {"step": str(steps), "seconds": "200.0"}
        write_tensors(tmp_path / task / "checkpoint.safetensors", {"w": torch.zeros(1)}, facts)
    write_choice(tmp_path / "denoiser", CHOICE)
    (tmp_path / "tensorboard").mkdir()
    return tmp_path


def test_figures_are_of_the_last_tenth_and_of_the_finished_weights(run: Path) -> None:
    first, last = read_figures(run)
    assert first.facts() == {"training_loss": 1.0}
    assert last.facts() == {
        "training_loss": 19.5,
        "ema": 0.07,
        "validation_loss": 0.29,
        "ema_validation": {"0.05": 0.31, "0.07": 0.29, "0.1": 0.3},
    }
    assert last.lines() == [
        "denoiser",
        "  training loss    19.5, mean of the last tenth of 20 steps",
        "  validation loss  0.29, on held-out images at fixed noise",
        "  time             3 min 20 s, 90.5 images/s at the end",
        "  EMA length       0.07, the best of 0.05 (0.31), 0.07 (0.29), 0.1 (0.3)",
    ]
    card = LoraCard(base=Base("emoji", "unnoise"), training={"steps": 20})
    assert with_figures(card, run).training == {"steps": 20} | last.facts()


def test_without_validation_a_length_is_stated_and_no_loss(run: Path) -> None:
    write_choice(run / "denoiser", EmaChoice(0.05))
    figures = read_figures(run)[-1]
    assert figures.facts() == {"training_loss": 19.5, "ema": 0.05}
    assert not any("validation" in line for line in figures.lines())
    assert figures.lines()[-1] == "  EMA length       0.05"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_written_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_speeds_are_written_without_exponents() -> None:
    assert [speed(value) for value in (0.1234, 90.51, 99.99, 1375.2, 123456.7)] == [
        f"{words} images/s" for words in ("0.123", "90.5", "100", "1375", "123457")
    ]


def test_cards_show_the_figures() -> None:
    assert _value({"0.05": 0.314159, "0.1": 0.3}) == "0.05 0.3142, 0.1 0.3"
    known = {"steps": 20, "training_loss": 0.123456, "validation_loss": 0.2, "ema": 0.05, "torch": "2.13"}
    assert _trained(known) == "20 steps, training loss 0.1235, validation loss 0.2, EMA length 0.05"
    for hostile in ([], None, {"steps": "9" * 99, "ema": True, "training_loss": 10**400}, {}):
        assert _trained(hostile) == ""
