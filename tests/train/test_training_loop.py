"""The loop of training on one number: what it writes and when, its learning rate, its clock, and how it resumes."""

import errno
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise.errors import InputError, InputWarning, NonFiniteError, OutputError
from unnoise.train import checkpoint
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import _Clock, train, training_seconds
from unnoise.train.muon import Muon, hidden_weights
from unnoise.train.optimizers import make_optimizers
from unnoise.train.task import Progress
from unnoise.train.weights import temporary_weights

EVERY = CheckpointOptions(ema_lengths=(0.05, 0.1), ema_every=1, snapshot_every=2, every=3, sheet_every=4)
FIT = FitOptions(steps=5, batch=6, learning_rate=0.1, warmup=2, decay=0.4, clip=1e9)


class Line:
    """The task of bringing w and v to 3; a step's gradient is known."""

    name = "line"

    def __init__(self) -> None:
        self.networks = nn.ModuleDict({"net": nn.Linear(1, 1)})
        nn.init.zeros_(self.networks["net"].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.networks["net"].bias)  # type: ignore[arg-type]
        self.learning_rate_multiples = {"net.bias": 0.5}
        self.steps: list[int] = []

    def loss(self, step: int, rows: range) -> Tensor:
        self.steps.append(step)
        net = self.networks["net"]
        return ((net.weight - 3).square().mean() + (net.bias - 3).square().mean()).expand(len(rows))

    def sheet(self, step: int) -> Image.Image:
        return Image.new("RGB", (step, 1))


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def ignore(_: Progress) -> None:
    pass


def stop_after(step: int) -> Callable[[Progress], None]:
    def callback(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return callback


def test_what_a_run_writes(tmp_path: Path) -> None:
    """Every so many steps, and all of it after the last."""
    task, seen = Line(), list[Progress]()
    train(task, FIT, EVERY, tmp_path, seen.append)
    assert task.steps == [0, 1, 2, 3, 4]
    assert names(tmp_path, "sheet-*") == ["sheet-000004.png", "sheet-000005.png"]
    with Image.open(tmp_path / "sheet-000004.png") as sheet:
        assert sheet.size == (4, 1)
    assert names(tmp_path, "ema/*") == [f"track{i}-00000{step}.safetensors" for i in (0, 1) for step in (2, 4, 5)]
    assert checkpoint.read_facts(tmp_path / "checkpoint.safetensors")["step"] == "5"
    assert [(one.step, one.steps, one.learning_rate) for one in seen] == [
        (step + 1, 5, pytest.approx(rate)) for step, rate in enumerate([0.05, 0.1, 0.1, 0.1, 0.05])
    ]
    assert seen[0].loss == 18.0
    assert seen[0].gradient_norm == pytest.approx(72**0.5)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]
    assert all(line["loss"] == float(f"{one.loss:.9g}") for line, one in zip(log, seen, strict=True))


def test_the_first_step_of_adam_is_the_learning_rate_times_its_multiple(tmp_path: Path) -> None:
    task = Line()
    with pytest.raises(KeyboardInterrupt):
        train(task, FIT, EVERY, tmp_path, stop_after(1))
    assert task.networks["net"].weight.item() == pytest.approx(0.05, rel=1e-5)
    assert task.networks["net"].bias.item() == pytest.approx(0.025, rel=1e-5)


def test_a_resumed_run_repeats_no_step_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    whole = train(Line(), FIT, EVERY, tmp_path / "whole", ignore)
    with pytest.raises(KeyboardInterrupt):
        train(Line(), FIT, EVERY, tmp_path / "stopped", stop_after(5))
    assert training_seconds(tmp_path / "stopped") == 4.0  # of the checkpoint before the sheet
    with (tmp_path / "stopped" / "log.jsonl").open("a") as log:
        log.write('{"step": 6')  # the run was killed here
    task, seen = Line(), list[Progress]()
    again = train(task, FIT, EVERY, tmp_path / "stopped", seen.append)
    assert task.steps == [4]
    assert [one.seconds for one in seen] == [5.0]
    lines = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_sheet_that_fails_is_a_warning_after_a_checkpoint(tmp_path: Path) -> None:
    class Blank(Line):
        def sheet(self, step: int) -> Image.Image:
            assert checkpoint.read_facts(tmp_path / "checkpoint.safetensors")["step"] == str(step)
            raise InputError("prompt 'a (16:9)': no")

    with pytest.warns(
        InputWarning, match=r"line: no contact sheet after (4|5) steps, the training goes on: prompt"
    ) as said:
        trained = train(Blank(), FIT, EVERY, tmp_path, ignore)
    assert len(said) == 2
    assert not names(tmp_path, "sheet-*")
    whole = train(Line(), FIT, EVERY, tmp_path / "whole", ignore)
    assert all(torch.equal(trained[name], whole[name]) for name in whole)
    train(Line(), FIT, EVERY, tmp_path, ignore)  # resumed when mended: the last sheet is drawn
    assert names(tmp_path, "sheet-*") == ["sheet-000005.png"]


def test_a_finished_run_is_extended_to_the_bits_of_a_longer_one(tmp_path: Path) -> None:
    """With a constant learning rate; the snapshot of the first end is left out."""
    constant = replace(FIT, decay=0.0)
    train(Line(), constant, EVERY, tmp_path / "extended", ignore)
    task = Line()
    extended = train(task, replace(constant, steps=9), EVERY, tmp_path / "extended", ignore)
    assert task.steps == [5, 6, 7, 8]
    whole = train(Line(), replace(constant, steps=9), EVERY, tmp_path / "whole", ignore)
    assert all(torch.equal(extended[name], whole[name]) for name in whole)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_the_log_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(code, "No space left on device")

    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: int, **more: int) -> object:
        return Full(path, "a") if mode == "ab" else opened(path, mode, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match=r"cannot write '.*log\.jsonl': No space left on device"):
        train(Line(), FIT, EVERY, tmp_path, ignore)


def test_a_gradient_that_overflows_in_float16_lowers_the_scale(tmp_path: Path) -> None:
    """The step is taken again with a lower scale, and the scale is part of a checkpoint."""

    class Narrow(Line):
        def loss(self, step: int, rows: range) -> Tensor:
            self.steps.append(step)
            net = self.networks["net"]
            return ((net.weight.half() - 3).square().mean() + (net.bias.half() - 3).square().mean()).float()

    task = Narrow()
    whole = train(task, FIT, EVERY, tmp_path / "whole", ignore, float16=True)
    assert task.steps[:3] == [0] * 3
    assert sorted(set(task.steps)) == [0, 1, 2, 3, 4]
    scale = float(checkpoint.read_facts(tmp_path / "whole/checkpoint.safetensors")["loss_scale"].split()[0])
    assert 0 < scale < 2**16
    exact = train(Line(), FIT, EVERY, tmp_path / "exact", ignore)
    assert all(torch.allclose(whole[name], exact[name], atol=1e-2) for name in exact)
    with pytest.raises(KeyboardInterrupt):
        train(Narrow(), FIT, EVERY, tmp_path / "stopped", stop_after(5), float16=True)
    resumed = Narrow()
    again = train(resumed, FIT, EVERY, tmp_path / "stopped", ignore, float16=True)
    assert resumed.steps == [4]
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_averages_are_updated_every_so_many_steps(tmp_path: Path) -> None:
    """The first update takes the weights whole; with none, the average is of the weights before."""
    options = CheckpointOptions(ema_every=5, snapshot_every=2, every=9, sheet_every=9)
    train(task := Line(), FIT, options, tmp_path, ignore)
    final = dict(task.networks.state_dict())
    for step, of in ((2, dict(Line().networks.state_dict())), (4, dict(Line().networks.state_dict())), (5, final)):
        for track in (0, 1):
            found = load_file(tmp_path / "ema" / f"track{track}-00000{step}.safetensors")
            assert all(torch.equal(found[name], of[name]) for name in of)


def test_gradients_are_clipped_and_their_norm_is_that_before(tmp_path: Path) -> None:
    seen = list[Progress]()
    train(Line(), replace(FIT, clip=1e-3), EVERY, tmp_path, seen.append)
    assert seen[0].gradient_norm == pytest.approx(72**0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step(tmp_path: Path, value: float) -> None:
    class Broken(Line):
        def loss(self, step: int, rows: range) -> Tensor:
            return super().loss(step, rows) * (value if step == 3 else 1)

    with pytest.raises(NonFiniteError, match=rf"line: loss is {value} at step 4, torch.float32"):
        train(Broken(), FIT, EVERY, tmp_path, ignore)


def test_each_parameter_has_one_optimizer() -> None:
    groups = make_optimizers(Line(), FIT)[0].param_groups
    assert [(group["multiple"], len(group["params"])) for group in groups] == [(1.0, 1), (0.5, 1)]
    assert all(group["betas"] == (0.9, 0.99) and group["weight_decay"] == 0 for group in groups)
    deep = Line()
    deep.networks["net"] = tiny.pipeline().denoiser.net
    hidden = hidden_weights(deep.networks)
    members = {name: parameter for name, parameter in deep.networks.named_parameters() if name in hidden}
    adam, muon = make_optimizers(deep, replace(FIT, optimizer="muon"))
    assert isinstance(muon, Muon)
    assert 0 < len(members) < len(list(deep.networks.parameters()))
    assert held(muon) == {id(parameter) for parameter in members.values()}
    assert held(adam) | held(muon) == {id(parameter) for parameter in deep.networks.parameters()}
    assert not held(adam) & held(muon)
    assert len(make_optimizers(deep, FIT)) == 1


def held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def test_other_weights_are_restored_after_an_error() -> None:
    networks = Line().networks
    other = {name: torch.ones_like(value) for name, value in networks.state_dict().items()}

    def fail() -> None:
        with temporary_weights(networks, other):
            assert all(bool((value == 1).all()) for value in networks.state_dict().values())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(bool((value == 0).all()) for value in networks.state_dict().values())


def test_the_clock_smooths_over_twenty_steps_and_counts_from_what_was_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 102.0, 106.0, 106.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    clock = _Clock(batch=8, spent=30.0)
    assert clock.tick() == (8 / 2, 32.0)
    second = 0.95 * 2 + 0.05 * 4
    assert clock.tick() == (pytest.approx(8 / second), 36.0)
    assert clock.tick() == (pytest.approx(8 / (0.95 * second + 0.05 * 0.5)), 36.5)
