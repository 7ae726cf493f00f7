"""How a step is computed: what "auto" becomes, and that each choice acts on the networks of a task."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.errors import InputError, InputWarning
from unnoise.train import fit_options, machine as machine_module
from unnoise.train.fit_options import FitOptions
from unnoise.train.machine import Machine, choose, measured, prepared, settled
from unnoise.train.processes import World
from unnoise.train.task import Task


class Seen:
    """A task that notes the dtype in which it computes."""

    name = "seen"

    def __init__(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv1d(4, 4, 1), nn.Conv3d(4, 4, 1))
        self.networks = nn.ModuleDict({"net": net, "text": nn.Linear(2, 2)})
        self.learning_rate_multiples = {"net.0.bias": 0.5}

    def loss(self, step: int, rows: range) -> Tensor:
        return self.networks["text"](torch.ones(len(rows), 2)).mean(1)  # type: ignore[no-any-return]

    def sheet(self, step: int) -> Image.Image:
        return Image.new("RGB", (step, 1))


def options(**fields: Any) -> FitOptions:
    return FitOptions(
        **{"steps": 1, "batch": 6, "precision": "float32", "compile": False, "channels_last": True, **fields}
    )


class Clock:
    """A clock that passes `cost` seconds with each pass, by what a pass computes with."""

    def __init__(self, **cost: float) -> None:
        self.cost, self.calls = cost, list[str]()

    def __call__(self, fit: FitOptions, best: float) -> tuple[float, float]:
        narrow, contiguous = fit.precision == "bfloat16", not fit.channels_last
        name = "compiled" if fit.compile else "contiguous" if contiguous else "bfloat16" if narrow else "float32"
        self.calls.append(name)
        seconds = self.cost[name]
        return (100.0 if fit.compile else seconds), seconds


@pytest.mark.parametrize(
    ("steps", "cost", "chosen", "calls"),
    [
        (1000, {"float32": 1, "bfloat16": 4, "contiguous": 2}, ("float32", False, True), 5),
        (1000, {"float32": 1, "bfloat16": 0.86, "contiguous": 1}, ("bfloat16", False, True), 5),
        (1000, {"float32": 1, "bfloat16": 0.88, "contiguous": 1}, ("float32", False, True), 5),
        (1000, {"float32": 1, "bfloat16": 1, "contiguous": 0.9}, ("float32", False, False), 5),
        (290, {"float32": 1}, ("float32", False, True), 1),  # no room for a second choice
        (2000, {"float32": 1, "bfloat16": 1, "contiguous": 1, "compiled": 0.8}, ("float32", True, True), 6),
        (2000, {"float32": 1, "bfloat16": 1, "contiguous": 1, "compiled": 0.96}, ("float32", False, True), 6),
        (1190, {"float32": 1, "bfloat16": 1, "contiguous": 1}, ("float32", False, True), 5),
    ],
)
def test_the_choice_is_that_of_the_seconds(
    steps: int, cost: dict[str, float], chosen: tuple[str, bool, bool], calls: int
) -> None:
    clock = Clock(**cost)
    machine = choose(FitOptions(steps), clock, narrow=True, compiler=True, layouts=True)
    assert (machine.precision, machine.compile, machine.channels_last) == chosen
    assert len(clock.calls) == calls


def test_what_is_set_or_impossible_is_not_measured() -> None:
    clock = Clock(float32=10, bfloat16=1, contiguous=1)
    machine = choose(FitOptions(1000), clock, narrow=False, compiler=False, layouts=False)
    assert clock.calls == ["float32"]
    assert machine.seconds == {"float32": 10}
    set_ = FitOptions(1000, precision="bfloat16", channels_last=False, compile=False)
    assert choose(set_, Clock(contiguous=1), True, True, True).applied(set_) == set_


def test_other_programs_count_against_no_choice() -> None:
    """A choice is compared with the best so far as it is beside it, not as it was before other programs began."""
    busy = {"float32": [1.0, 4.0, 1.0], "bfloat16": [3.0], "contiguous": [1.0]}

    def seconds(fit: FitOptions, best: float) -> tuple[float, float]:
        name = "contiguous" if not fit.channels_last else fit.precision
        taken = busy[name].pop(0) if busy[name] else 0.75
        return taken, taken

    machine = choose(FitOptions(1000, compile=False), seconds, narrow=True, compiler=False, layouts=True)
    assert (machine.precision, machine.channels_last) == ("bfloat16", True)
    assert machine.seconds["bfloat16"] == 0.75


def test_a_first_pass_that_prepares_kernels_decides_nothing() -> None:
    ticks, passes = iter(range(10**6)), list[torch.dtype]()

    class Preparing(Seen):
        def loss(self, step: int, rows: range) -> Tensor:
            found = super().loss(step, rows)
            first = found.dtype not in passes
            passes.append(found.dtype)
            for _ in range(90 if first else 0 if found.dtype == torch.bfloat16 else 1):
                next(ticks)
            return found

    machine = measured(Preparing(), FitOptions(4000, batch=6, compile=False), now=lambda: float(next(ticks)))
    assert machine is not None
    assert machine.precision == "bfloat16"


def test_a_slow_choice_ends_after_two_passes_and_leaves_the_task_as_it_was() -> None:
    """On a CPU without AMX, bfloat16 takes several times as long: it is not chosen, and costs two passes."""
    ticks, narrow = iter(range(10**6)), list[torch.dtype]()

    class Slow(Seen):
        def loss(self, step: int, rows: range) -> Tensor:
            found = super().loss(step, rows)
            narrow.append(found.dtype)
            for _ in range(6 if found.dtype == torch.bfloat16 else 0):
                next(ticks)
            torch.rand(3)
            return found

    task = Slow()
    before, drawn = {name: one.clone() for name, one in task.networks.state_dict().items()}, torch.get_rng_state()
    machine = measured(task, FitOptions(4000, batch=6, compile=False), now=lambda: float(next(ticks)))
    assert machine is not None
    assert (machine.precision, machine.channels_last) == ("float32", True)
    assert machine.seconds == {"float32": 1, "bfloat16": 7, "contiguous": 1}
    assert narrow.count(torch.bfloat16) == 2
    assert str(machine).startswith(
        "float32, not compiled, channels last (speed of a pass: float32 1.00 x, bfloat16 0.14"
    )
    assert all(torch.equal(one, before[name]) for name, one in task.networks.state_dict().items())
    assert all(parameter.grad is None for parameter in task.networks.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_the_choice_is_kept_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured once; a run that began without it, and one of few steps, are exact; what is impossible is said."""
    kept = Machine("bfloat16", True, False, {"float32": 2.0, "bfloat16": 1.0})
    times = list[int]()

    def found(task: Task, fit: FitOptions, size: int) -> Machine:
        times.append(size)
        return kept

    monkeypatch.setattr(machine_module, "measured", found)
    monkeypatch.setattr(machine_module, "has_compiler", lambda: True)
    for _ in range(2):
        fit = settled(Seen(), FitOptions(1000), tmp_path, World())
        assert (fit.precision, fit.compile, fit.channels_last) == ("bfloat16", True, False)
    assert times == [1]
    assert settled(Seen(), FitOptions(9, precision="float32"), tmp_path, World()).precision == "float32"
    monkeypatch.setattr(machine_module, "has_compiler", lambda: False)
    with pytest.warns(InputWarning, match=r"^compile True: chosen on the machine where the run began, and impossible"):
        assert settled(Seen(), FitOptions(9), tmp_path, World()).compile is False
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "checkpoint.safetensors").touch()
    assert settled(Seen(), FitOptions(1000), tmp_path / "old", World()).precision == "float32"
    assert times == [1]


def test_a_short_run_is_exact_and_uncompiled() -> None:
    assert settled(Seen(), FitOptions(99, batch=6), None, World()) == options(steps=99)
    given = options(precision="bfloat16", compile=True, channels_last=False, micro_batch=2)
    assert settled(Seen(), given, None, World()) is given


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_is_that_of_the_options(channels_last: bool) -> None:
    task = Seen()
    for _ in range(2):
        prepared(task, options(channels_last=channels_last))
        weight = task.networks["net"][0].weight  # type: ignore[index]
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert weight.is_contiguous() != channels_last


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_loss_is_computed_in_the_precision_of_the_options(precision: str, dtype: torch.dtype) -> None:
    task = prepared(Seen(), options(precision=precision))
    assert task.loss(0, range(3)).dtype == dtype
    assert (task.name, task.learning_rate_multiples, task.sheet(2).size) == ("seen", {"net.0.bias": 0.5}, (2, 1))


def test_the_first_network_and_frozen_ones_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = list[nn.Module]()

    def compile_(net: nn.Module) -> None:
        compiled.append(net)
        net._compiled_call_impl = net._call_impl  # type: ignore[assignment]

    monkeypatch.setattr(nn.Module, "compile", compile_)
    monkeypatch.setattr(fit_options.shutil, "which", lambda name: "/usr/bin/clang++" if name == "clang++" else None)
    task = Seen()
    prepared(task, options())
    assert compiled == []
    for _ in range(2):
        prepared(task, options(compile=True))
    assert compiled == [task.networks["net"]]
    taught = Seen()
    taught.frozen = (nn.Conv2d(2, 2, 1),)  # type: ignore[attr-defined]
    prepared(taught, options(compile=True, channels_last=False))
    assert compiled[1:] == [taught.networks["net"], *taught.frozen]  # type: ignore[attr-defined]
    with machine_module._unchanged(taught):
        pass
    prepared(taught, options(compile=True))
    assert len(compiled) == 5, "what was compiled for a trial is forgotten"
    monkeypatch.setattr(fit_options.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"compile true: needs one of g\+\+, clang\+\+, cl"):
        prepared(Seen(), options(compile=True))
