"""Signals in a training: the first writes a checkpoint and says how to go on, the second kills; kills lose nothing."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.cli.main import main
from unnoise.train import checkpoint
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.stop import TrainingStopped, stop_signals
from unnoise.train.task import Progress

EVERY = CheckpointOptions(ema_every=1, snapshot_every=2, every=3, sheet_every=4)
FIT = FitOptions(steps=12, learning_rate=0.1, warmup=2, decay=0.4)
SIGNALS = (signal.SIGINT, signal.SIGTERM)

RECIPE = """
name = "dots"
prompts = ["a dot"]
[data]
source = "{source}"
size = 8
views = 1
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 200, batch = 1, warmup = 1 }}
text = {{ vocab = 270, width = 8, depth = 1, heads = 1, length = 8 }}
net.class = "DiT"
net.args = {{ channels = 3, width = 64, depth = 1, patch = 4, context = 8, vector = 8 }}
"""


class Plane:
    """The task of fitting a linear map to noise that depends on the step."""

    name = "plane"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.networks = nn.ModuleDict({"net": nn.Linear(4, 4)})
        self.learning_rate_multiples: dict[str, float] = {}

    def loss(self, step: int, rows: range) -> Tensor:
        x = torch.from_numpy(np.random.default_rng(step).standard_normal((3, 4), np.float32))
        return (self.networks["net"](x) - x.flip(1)).square().mean()

    def sheet(self, step: int) -> Image.Image:
        return Image.new("RGB", (step, 1))


def ignore(_: Progress) -> None:
    pass


def fit(folder: Path, callback: Callable[[Progress], None] = ignore) -> dict[str, Tensor]:
    return train(Plane(), FIT, EVERY, folder, callback)


def send(number: int, at: int) -> Callable[[Progress], None]:
    return lambda progress: os.kill(os.getpid(), number) if progress.step == at else None


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return fit(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("at", [1, 5, 8, 12])
def test_a_signal_writes_a_checkpoint_of_the_step(
    tmp_path: Path, whole: dict[str, Tensor], number: int, at: int
) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(TrainingStopped) as stopped:
        fit(tmp_path, send(number, at))
    assert stopped.value.number == number
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert checkpoint.read_facts(tmp_path / "checkpoint.safetensors")["step"] == str(at)
    assert not (tmp_path / f"sheet-{at:06d}.png").exists()
    assert same(fit(tmp_path), whole)
    assert (tmp_path / f"sheet-{at:06d}.png").exists() == (at in (8, 12))


def child(work: Callable[[], object]) -> int:
    """Run work in a child process; return its exit code, or the negative number of the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    def twice(progress: Progress) -> None:
        for pause in (0.25, 0):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(pause)

    assert child(lambda: fit(tmp_path, twice)) == -signal.SIGTERM
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_one_signal_to_process_and_group_is_one(tmp_path: Path) -> None:
    def both(progress: Progress) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    assert child(lambda: fit(tmp_path, both)) == 0
    assert checkpoint.read_facts(tmp_path / "checkpoint.safetensors")["step"] == "1"


def test_a_run_that_is_killed_while_it_writes_ends_with_the_same_bits(tmp_path: Path, whole: dict[str, Tensor]) -> None:
    """Each child is killed at its n-th sync of a file: within a checkpoint, a snapshot, a sheet or the log's copy."""

    def killed(at: int) -> None:
        calls, sync = iter(range(1, 1000)), os.fsync

        def counted(handle: int) -> None:
            sync(handle)
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = counted
        fit(tmp_path)

    ended = [child(lambda at=at: killed(at)) for at in (4, 7, 1, 9, 10, 3, 12, 2)]  # type: ignore[misc]
    assert ended.count(-signal.SIGKILL) >= 6
    assert list(tmp_path.rglob("*.part"))
    assert same(fit(tmp_path), whole)


def test_outside_of_a_step_a_signal_is_raised_at_once() -> None:
    def interrupt(kept: bool) -> None:
        with stop_signals() as stop:
            with stop.kept(kept):
                os.kill(os.getpid(), signal.SIGTERM)
                reached.append(kept)
            stop.check()

    reached: list[bool] = []
    for kept in (True, False):
        with pytest.raises(TrainingStopped, match="stopped by SIGTERM"):
            interrupt(kept)
    assert reached == [True]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_command_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    Image.effect_noise((8, 8), 60).convert("RGB").save(tmp_path / "0.png")
    (tmp_path / "0.txt").write_text("a dot")
    recipe, out = tmp_path / "my dots.toml", tmp_path / "run"
    recipe.write_text(RECIPE.format(source=tmp_path))
    monkeypatch.setattr("unnoise.cli.train.ConsoleReport.step", lambda _, progress: send(number, 2)(progress))
    assert main(["train", str(recipe), "--out", str(out)]) == 128 + number
    line = capsys.readouterr().err.splitlines()[-1]
    name = signal.Signals(number).name
    assert line == f"unnoise: stopped by {name}; continue with: unnoise train '{recipe}' --out {out} --resume"
    assert checkpoint.read_facts(out / "denoiser/checkpoint.safetensors")["step"] == "2"
