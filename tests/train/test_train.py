"""Training: a resumed run ends with the same bits, faults stop it with their step, recipes are strict."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.cli.main import main
from unnoise.data.dataset import ImageDataset
from unnoise.data.view import View
from unnoise.errors import InputError, InputWarning, NonFiniteError
from unnoise.formats.header import read_header
from unnoise.loading import load
from unnoise.text import tokenizer as bpe
from unnoise.train.latents import tokenize_views
from unnoise.train.recipe import TrainingRecipe, read_recipe
from unnoise.train.task import Progress
from unnoise.train.train_recipe import sheet_prompts, train_recipe

TINY = """
name = "tiny"
seed = 3
prompts = ["a red square"]

[data]
source = "{source}"
size = 16
views = 2

[autoencoder]
args = {{ width = 32, encode = 1, decode = 1 }}
fit = {{ steps = 6, batch = 4, warmup = 2 }}

[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 8, batch = 4, warmup = 2, optimizer = "muon" }}
text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 4, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 16, vector = 16 }}

[checkpoints]
snapshot_every = 4
every = 2
sheet_every = 8
ema_every = 2
"""


class Quiet:
    """Report nothing, or stop after so many steps of the denoiser."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.name = stop, ""

    def opened(self, dataset: ImageDataset) -> None:
        pass

    def stage(self, name: str, total: int) -> None:
        self.name = name

    def step(self, progress: Progress) -> None:
        if self.name == "denoiser" and progress.step == self.stop:
            raise KeyboardInterrupt

    def encoded(self, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    for i, colour in enumerate(("red", "green", "blue", "black", "white")):
        Image.new("RGB", (16, 16), colour).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"a {colour} square")
    path = folder / "tiny.toml"
    path.write_text(TINY.format(source=folder))
    return path


@pytest.fixture(scope="session")
def recipe(recipe_file: Path) -> TrainingRecipe:
    return read_recipe(recipe_file)


@pytest.fixture(scope="session")
def whole(recipe: TrainingRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an uninterrupted run."""
    return fit(recipe, tmp_path_factory.mktemp("whole"))


def fit(recipe: TrainingRecipe, folder: Path, resume: bool = False, stop: int | None = None) -> Path:
    return train_recipe(recipe, folder, torch.device("cpu"), resume, Quiet(stop))


def weights_sha256(path: Path) -> str:
    """Hash a model file without its header, which carries the seconds that training took."""
    header = read_header(path)
    start = min(entry.start for entry in header.tensors.values())
    return hashlib.sha256(path.read_bytes()[start:]).hexdigest()


def test_a_trained_model_loads_and_generates(whole: Path) -> None:
    pipeline = load(whole)
    assert pipeline.card.training["steps"] == 8
    assert pipeline.generate("a red square", seed=1, steps=2)[0].image.size == (16, 16)


@pytest.mark.parametrize("stop", [1, 5, 7])
def test_a_stopped_run_ends_with_the_same_bits(recipe: TrainingRecipe, whole: Path, tmp_path: Path, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path, stop=stop)
    assert weights_sha256(fit(recipe, tmp_path, resume=True)) == weights_sha256(whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "denoiser/log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 9))


def test_a_killed_command_ends_with_the_same_bits(recipe_file: Path, whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unnoise", "train", str(recipe_file), "--out", str(tmp_path / "run")]
    log = tmp_path / "run/denoiser/log.jsonl"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline and not (log.exists() and log.read_text()):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert main([*command[3:], "--resume"]) == 0
    assert weights_sha256(tmp_path / "run/tiny.safetensors") == weights_sha256(whole)


@pytest.mark.filterwarnings("default:.*images skipped:unnoise.errors.InputWarning")
def test_a_corrupt_image_is_reported_or_refused(
    recipe_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(recipe_file.parent, data)
    (data / "0.png").write_bytes(b"no picture")
    recipe = data / recipe_file.name
    recipe.write_text(recipe_file.read_text().replace(str(recipe_file.parent), str(data)))
    assert main(["train", str(recipe), "--out", str(tmp_path / "a"), "--strict"]) == 2
    assert "image '0.png': cannot be read" in capfd.readouterr().err
    assert main(["train", str(recipe), "--out", str(tmp_path / "a")]) == 0
    said = capfd.readouterr().err
    assert "data: 1 images skipped: 1 unreadable ('0.png')" in said
    assert "4 images of 4 concepts, 1 skipped" in said


def test_a_finished_run_is_not_overwritten(recipe: TrainingRecipe, whole: Path) -> None:
    with pytest.raises(InputError, match="--resume"):
        fit(recipe, whole.parent)


def test_a_run_of_another_recipe_is_not_resumed(recipe_file: Path, whole: Path) -> None:
    other = recipe_file.with_name("other.toml")
    other.write_text(recipe_file.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(InputError, match="seed is 3 there, 4 in the recipe"):
        fit(read_recipe(other), whole.parent, resume=True)


def test_a_loss_of_nan_stops_the_run_with_its_step(
    recipe: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unnoise.train import denoiser

    monkeypatch.setattr(denoiser, "loss", lambda model, x0, *rest: model.net.leave.bias.sum() * torch.nan)
    with pytest.raises(NonFiniteError, match="step 1"):
        fit(recipe, tmp_path)
    assert not (tmp_path / "tiny.safetensors").exists()


def test_an_infinite_gradient_is_named(recipe: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unnoise.train import denoiser

    def broken(model: torch.nn.Module, x0: torch.Tensor, *rest: object) -> torch.Tensor:
        bias = model.net.leave.bias
        bias.register_hook(lambda gradient: gradient * torch.inf)
        return bias.sum() + x0.mean() + 1

    monkeypatch.setattr(denoiser, "loss", broken)
    with pytest.raises(NonFiniteError, match=r"net\.leave\.bias.*step 1"):
        fit(recipe, tmp_path)


def test_sheets_of_a_recipe_without_prompts_use_captions_that_fit(recipe: TrainingRecipe) -> None:
    captions = (("a red square",), ("long " * 40,), ("a blue square",))
    dataset = ImageDataset("few", captions, ("a", "b", "c"), lambda i: np.zeros((16, 16, 4), np.uint8))
    tokenizer = bpe.train(["a red square", "a blue square"], 280)
    assert sheet_prompts(replace(recipe, prompts=()), dataset, tokenizer) == ["a red square", "a blue square"]
    assert sheet_prompts(recipe, dataset, tokenizer) == ["a red square"]


def test_captions_of_too_many_tokens_are_cut_and_counted() -> None:
    tokenizer = bpe.train(["ab"], 258)
    views = [View(0, "a"), View(1, "b" * 9), View(2, "b" * 40)]
    with pytest.warns(InputWarning, match=r"2 of 3 captions have more than denoiser\.text\.length 4 tokens, up to \d+"):
        ids, lengths = tokenize_views(views, tokenizer, 4)
    assert ids.shape == (3, 4)
    assert lengths.tolist()[1:] == [4, 4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("views = 2", "viewz = 2", r"unknown field 'data\.viewz'.*did you mean 'views'"),
        ("steps = 8", 'steps = "eight"', r"denoiser\.fit\.steps"),
        ("steps = 8", "steps = 0", r"steps 0: at least 1"),
        ('class = "Flow"', 'class = "Flaw"', "Flow"),
        ("seed = 3", "seed = ", "line"),
        ("warmup = 2 }\n\n", "warmup = 2, rate = 1e-3 }\n\n", "'autoencoder.fit.rate' is now 'learning_rate'; rename"),
        (
            "[checkpoints]",
            "[keep]\nlength = 0.1\n[checkpoints]",
            "'keep' is now 'checkpoints', 'keep.length' is now 'ema_length'",
        ),
        ("length = 16 }", "length = 16, rate = 5.0 }", "text.rate' is now 'embedding_learning_rate_multiple'"),
        ("[denoiser]", "[advice]\nguidance = 2.0\n[denoiser]", "'advice.guidance' is now 'guidance_scale'"),
        ("[denoiser]", "[denoiser]\ndropout = 0.2", "'denoiser.dropout' is now 'caption_dropout'"),
        ('prompts = ["a red square"]', f'prompts = ["{"a red square " * 6}"]', "tokens, at most 16 are allowed"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(recipe_file.read_text().replace(old, new))
    assert main(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(message, error), error
