"""Validation: held-out images at fixed noise give the same number at the same weights, and cost little."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies
from PIL import Image
from torch import Tensor

from unnoise.data.dataset import ImageDataset
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.ema_choice import EmaChoice, candidates, choose_ema, read_choice
from unnoise.train.recipe import TrainingRecipe, read_recipe
from unnoise.train.task import Progress
from unnoise.train.train_recipe import train_recipe
from unnoise.train.validation import (
    BINS,
    LevelLosses,
    Monitor,
    Validation,
    bins,
    count_rows,
    level_edges,
    level_means,
    row_images,
    row_noise,
    row_quantiles,
)
from unnoise.train.weights import evaluating

TINY = """
name = "tiny"
prompts = ["a red square"]
data = {{ source = "{source}", size = 8, views = 1, validation = 0.25 }}

[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 6, batch = 4, warmup = 2, learning_rate = {rate}, decay = 0.0, precision = "float32" }}
text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 16, vector = 16 }}

[checkpoints]
ema_every = 1
validate_every = 2
{more}
"""


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
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Kept, Path]]:
    """Train on twelve squares, and return the report and the folder."""
    folder = tmp_path_factory.mktemp("squares")
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 255 - 20 * i, 70 * i % 256)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"square {i}")

    def train(rate: float = 1e-3, more: str = "", change: Callable[[TrainingRecipe], TrainingRecipe] = lambda r: r):
        path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
        path.write_text(TINY.format(source=folder, rate=rate, more=more))
        report = Kept()
        out = tmp_path_factory.mktemp("run")
        train_recipe(change(read_recipe(path)), out, torch.device("cpu"), False, report)
        return report, out

    return train


@pytest.mark.filterwarnings("ignore:.*no contact sheet:unnoise.errors.InputWarning")
def test_the_same_weights_give_the_same_bits_after_any_step(run: Callable[..., tuple[Kept, Path]]) -> None:
    """Weights that do not change, in another batch of training as well."""
    report, folder = run(rate=1e-30)
    assert report.dataset.held_out == 3
    assert len(report.dataset) == 9
    found = [one.validation for one in report.seen]
    assert found[::2] == [None] * 3
    assert found[1] == found[3] == found[5] != None  # noqa: E711
    assert len({one.validation_by_level for one in report.seen if one.validation is not None}) == 1
    assert len({one.by_level for one in report.seen if one.by_level}) == 3  # of other rows each time
    log = [json.loads(line) for line in (folder / "denoiser/log.jsonl").read_text().splitlines()]
    assert [line.get("validation") for line in log] == [v if v is None else float(f"{v:.9g}") for v in found]
    card = json.loads(read_header(folder / "tiny.safetensors").metadata["unnoise"])
    assert card["training"]["held_out"] == 3
    assert card["training"]["pictures"] == 9


@given(
    rows=strategies.integers(1, 12).map(lambda k: k * BINS),
    block=strategies.integers(1, 40),
    ranks=strategies.integers(1, 5),
)
@settings(max_examples=30, deadline=None)
def test_any_number_of_processes_gives_the_same_bits(rows: int, block: int, ranks: int) -> None:
    values = torch.linspace(0.1, 3.7, rows).sin()
    validation = Validation(lambda part: values[part.start : part.stop], rows, block)
    parts = [validation.losses(rank, ranks) for rank in range(ranks)]
    assert torch.equal(sum(parts, torch.zeros(rows, dtype=torch.float64)), validation.losses())
    assert torch.equal(validation.losses(), values.double())


@pytest.mark.parametrize("images", [1, 3, 8, 16, 40, 64, 500])
def test_rows_cover_every_image_and_every_level_alike(images: int) -> None:
    rows = count_rows(images, batch=64, every=250)
    assert rows % BINS == 0
    chosen = row_images(range(rows), images)
    counts = torch.bincount(torch.tensor(chosen), minlength=images)
    assert counts.max() - counts.min() <= 1 if rows % images else counts.max() == counts.min()
    own = bins(row_quantiles(rows))
    assert (torch.bincount(own, minlength=BINS) == rows // BINS).all()
    of_first = {int(own[r]) for r in range(rows) if chosen[r] == chosen[0]}
    assert len(of_first) == min(BINS, int(counts[chosen[0]])) or images == 3
    assert torch.equal(row_noise(range(3, 5), torch.Size((2, 2)))[0], row_noise(range(3, 4), torch.Size((2, 2)))[0])


@pytest.mark.parametrize(("images", "batch", "every"), [(1000, 32, 250), (1000, 96, 250), (5, 4, 100), (300, 256, 500)])
def test_a_validation_costs_under_three_percent(images: int, batch: int, every: int) -> None:
    """A row without a gradient costs about a third of one with it."""
    assert count_rows(images, batch, every) / 3 <= 0.03 * batch * every or count_rows(images, batch, every) == BINS


def test_losses_of_trained_rows_are_averaged_by_level() -> None:
    levels = LevelLosses(level_edges(lambda u: u))
    assert levels.edges == tuple(k / 8 for k in range(1, 8))
    levels.add(torch.tensor([0.0, 0.1, 0.13, 1.0]), torch.tensor([1.0, 3.0, 5.0, 7.0]))
    levels.add(torch.tensor([0.12]), torch.tensor([5.0]))
    assert levels.take() == (3.0, 5.0, None, None, None, None, None, 7.0)
    assert levels.take() == (None,) * 8
    losses = torch.arange(16, dtype=torch.float64)
    assert level_means(losses) == tuple(4.0 + k for k in range(8))


def test_a_monitor_without_validation_needs_no_other_weights() -> None:
    progress = Progress(1, 2, 0.5, 1.0, 0.1, 1.0, 1.0)
    assert Monitor().observe(progress, lambda: pytest.fail("evaluated")) == progress
    found = Monitor(Validation(lambda rows: torch.ones(len(rows)), 8)).observe(progress, nullcontext)
    assert (found.validation, found.validation_by_level) == (1.0, ())


def test_evaluation_leaves_weights_modes_and_gradients_as_they_were() -> None:
    frozen, trained = torch.nn.Dropout(), torch.nn.Linear(1, 1)
    networks = torch.nn.ModuleDict({"a": frozen.eval(), "b": trained})
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    zeros = {name: torch.zeros_like(value) for name, value in before.items()}
    with evaluating(networks, zeros, narrow=False):
        assert trained(torch.ones(1, 1)).item() == 0
        assert not trained.training
        assert not trained(torch.ones(1, 1)).requires_grad
    assert [frozen.training, trained.training] == [False, True]
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())


def losses_by_length(best: float) -> Callable[[dict[str, Tensor]], float]:
    return lambda weights: abs(weights["length"].item() - best)


@pytest.mark.parametrize(("best", "chosen"), [(0.0, 0.05), (0.07, 0.0707), (0.2, 0.1)])
def test_the_length_with_the_lowest_validation_loss_is_chosen(best: float, chosen: float) -> None:
    options = CheckpointOptions(ema_length="auto")
    choice, weights = choose_ema(options, lambda length: {"length": torch.tensor(length)}, losses_by_length(best))
    assert choice.length == chosen == pytest.approx(weights["length"].item())
    assert [length for length, _ in choice.tried] == [0.05, 0.0595, 0.0707, 0.0841, 0.1] == [*candidates(options)]
    assert choice.validation == min(loss for _, loss in choice.tried)


def test_without_validation_the_length_is_that_of_the_recipe() -> None:
    choice, _ = choose_ema(CheckpointOptions(ema_length=0.07), lambda length: {}, None)
    assert choice == EmaChoice(0.07)
    assert choice.validation is None


@pytest.mark.filterwarnings("ignore:.*no contact sheet:unnoise.errors.InputWarning")
def test_a_run_chooses_its_ema_length(run: Callable[..., tuple[Kept, Path]]) -> None:
    report, folder = run(rate=1e-2, more='ema_length = "auto"\nsnapshot_every = 2')
    choice = read_choice(folder / "denoiser")
    assert choice is not None
    assert len(choice.tried) == 5
    assert choice.validation == min(loss for _, loss in choice.tried)
    assert dict(choice.tried)[0.05] == pytest.approx(report.seen[-1].validation, rel=1e-4)  # of the shortest average
    card = json.loads(read_header(folder / "tiny.safetensors").metadata["unnoise"])
    assert card["training"]["ema"] == choice.length


def test_a_length_cannot_be_chosen_without_held_out_images(run: Callable[..., tuple[Kept, Path]]) -> None:
    without = lambda recipe: replace(recipe, data=replace(recipe.data, validation=0.0))  # noqa: E731
    with pytest.raises(InputError, match=re.escape('checkpoints.ema_length "auto": is chosen on held-out images')):
        run(more='ema_length = "auto"', change=without)
