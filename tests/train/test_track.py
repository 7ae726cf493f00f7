"""What is recorded with TensorBoard and Weights & Biases: the numbers of each step, offline."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unnoise.errors import InputError
from unnoise.train.task import Progress
from unnoise.train.track import level_names, scalars, tensorboard, together, tracker, wandb

STEP = Progress(1, 2, 0.5, 1.5, 1e-3, 90.0, 3.0, 3.0, 2_000_000_000)
EDGES = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.2)
LAST = replace(
    STEP,
    step=2,
    by_level=(0.1, None, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    validation=0.6,
    validation_by_level=tuple(k / 10 for k in range(8)),
    level_edges=EDGES,
)


def test_numbers_have_names_that_say_what_they_are() -> None:
    assert scalars(STEP) == {
        "loss/training": 0.5,
        "training/gradient norm": 1.5,
        "training/learning rate": 1e-3,
        "speed/images a second": 90.0,
        "speed/memory in GB": 2.0,
    }
    found = scalars(LAST)
    assert found["loss/validation"] == 0.6
    assert found["training by noise level/1 sigma below 0.3"] == 0.1
    assert "training by noise level/2 sigma 0.3 to 0.5" not in found
    assert found["validation by noise level/8 sigma above 3.2"] == 0.7
    assert level_names(()) == []


def test_event_files_hold_every_number(tmp_path: Path) -> None:
    """A resumed run says from which step on it repeats."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    write = tensorboard(tmp_path)
    write(STEP)
    write(LAST)
    (file,) = tmp_path.glob("events.*")
    events = [Event.FromString(raw) for raw in RawEventFileLoader(str(file)).Load()]
    found = {(one.step, value.tag): value.simple_value for one in events for value in one.summary.value}
    assert found == {
        (step.step, name): pytest.approx(value) for step in (STEP, LAST) for name, value in scalars(step).items()
    }
    assert [one.session_log.status for one in events if one.HasField("session_log")] == [1]  # START, at step 1


class FakeRun:
    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = False

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.logged.append((numbers, step))

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize(("name", "mode"), [("wandb", "offline"), ("wandb-online", "online")])
def test_weights_and_biases_is_offline_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any, mode: str
) -> None:
    run, asked = FakeRun(), list[dict[str, Any]]()
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **options: asked.append(options) or run))
    monkeypatch.setenv("WANDB_MODE", "online")
    write = tracker(name, tmp_path / "new", "emoji")
    assert not asked
    write(STEP)
    assert not run.finished
    write(LAST)
    assert asked == [{"project": "unnoise", "name": "emoji", "dir": str(tmp_path / "new"), "mode": mode}]
    assert run.logged == [(scalars(STEP), 1), (scalars(LAST), 2)]
    assert run.finished


def test_what_is_missing_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"wandb: is missing .*pip install wandb"):
        wandb(tmp_path, "emoji")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"tensorboard: is missing .*pip install 'unnoise\[track\]'"):
        tracker("tensorboard", tmp_path, "emoji")


def test_several_callbacks_are_called_in_order() -> None:
    seen: list[str] = []
    together(lambda one: seen.append(f"a{one.step}"), lambda one: seen.append(f"b{one.step}"))(STEP)
    assert seen == ["a1", "b1"]
