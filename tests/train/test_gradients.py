"""The gradient of a step: in passes, in several processes, and exact: the same bits for any number of processes."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from math import fsum
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unnoise.adapters.lora.dropout import row_dropout
from unnoise.errors import InputError, InputWarning
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.exact import ExactGradient, exact_threads, tree_sum
from unnoise.train.fit_options import FitOptions
from unnoise.train.gradients import PassGradient, any_unused, check_split, make_gradient
from unnoise.train.loop import train
from unnoise.train.passes import TaskLoss
from unnoise.train.processes import World
from unnoise.train.task import Progress

FIT = FitOptions(steps=10, batch=16, warmup=2, precision="float32", compile=False)
EVERY = CheckpointOptions(ema_every=1, snapshot_every=5, every=4, sheet_every=1000)


class Rows:
    """The task of fitting a small network to rows of noise; row r of step s is a function of s and r."""

    name = "rows"

    def __init__(self, dropout: float = 0.0, unused: bool = False) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 40), nn.GELU(), nn.Dropout(dropout), nn.Linear(40, 12))
        self.networks = nn.ModuleDict({"net": net} | ({"other": nn.Linear(2, 2)} if unused else {}))
        self.learning_rate_multiples: dict[str, float] = {}
        self.seen: list[tuple[int, range]] = []

    def loss(self, step: int, rows: range) -> Tensor:
        self.seen.append((step, rows))
        draws = [np.random.default_rng([step, row]).standard_normal(12, np.float32) for row in rows]
        x = torch.from_numpy(np.stack(draws))
        return (self.networks["net"](x) - x.flip(1)).square().mean(1)

    def sheet(self, step: int) -> Image.Image:
        return Image.new("RGB", (step, 1))


def ignore(_: Progress) -> None:
    pass


def gradients(fit: FitOptions, task: Rows | None = None) -> tuple[list[Tensor], Tensor]:
    """Return the gradients of a step in one process, and the shares of its loss."""
    task = Rows() if task is None else task
    shares = make_gradient(task, fit, World()).backward(3, 1.0)
    return [parameter.grad for parameter in task.networks.parameters() if parameter.grad is not None], shares


def trained(size: int, folder: Path, fit: FitOptions, make: Callable[[], Rows] = Rows, stop: int = 0) -> str:
    """Train in so many processes, to the last step or until one; return the hash of the weights after the last."""

    def work(world: World) -> None:
        def callback(progress: Progress) -> None:
            if progress.step == stop:
                raise ValueError("stopped")

        task = make()
        train(task, fit, EVERY, folder / "run", callback)
        if world.rank == 0:
            save_file(task.networks.state_dict(), folder / "last.safetensors")

    ends = forked.run(size, folder / "processes", work)
    assert ends == (["ValueError: stopped", *["-"] * (size - 1)] if stop else [""] * size)
    return "" if stop else digest(folder)


def weights(folder: Path) -> Tensor:
    return torch.cat([value.flatten() for _, value in sorted(load_file(folder / "last.safetensors").items())])


def digest(folder: Path) -> str:
    return hashlib.sha256(weights(folder).numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("micro_batch", [1, 3, 5, 8, 16])
def test_passes_add_up_to_the_batch(micro_batch: int) -> None:
    """The last pass may be shorter."""
    whole, (loss,) = gradients(FIT)
    task = Rows()
    parts, shares = gradients(replace(FIT, micro_batch=micro_batch), task)
    assert [row for _, rows in task.seen for row in rows] == list(range(16))
    assert max(len(rows) for _, rows in task.seen) == micro_batch
    assert fsum(shares.tolist()) == pytest.approx(float(loss), rel=1e-6)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(whole, parts, strict=True))


def test_one_pass_in_one_process_is_plain_backward() -> None:
    found, _ = gradients(FIT)
    task = Rows()
    task.loss(3, range(16)).mean().backward()
    assert all(torch.equal(one, p.grad) for one, p in zip(found, task.networks.parameters(), strict=True))  # type: ignore[arg-type]


def test_exact_gradients_are_those_of_the_batch_summed_by_a_tree() -> None:
    whole, _ = gradients(FIT)
    shards = [gradients(replace(FIT, batch=4), _Shifted(4 * k))[0] for k in range(4)]
    found, shares = gradients(replace(FIT, exact=True))
    by_hand = [tree_sum([one / 4 for one in part]) for part in zip(*shards, strict=True)]
    assert len(shares) == 4
    assert all(torch.equal(one, other) for one, other in zip(found, by_hand, strict=True))
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(found, whole, strict=True))


class _Shifted(Rows):
    """The rows from a first one on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def loss(self, step: int, rows: range) -> Tensor:
        return super().loss(step, range(self.first + rows.start, self.first + rows.stop))


def test_a_tree_adds_neighbours_first() -> None:
    """Added from the left, the small numbers would be lost."""
    one, small = torch.tensor(1.0), torch.tensor(2.0**-24)
    assert float(tree_sum([one, small, small, small])) > 1
    assert float(one + small + small + small) == 1


@pytest.mark.parametrize("shards", [1, 2, 8, 16])
def test_exact_passes_cover_the_batch_once(shards: int) -> None:
    passes = ExactGradient(Rows(), replace(FIT, exact=True, exact_shards=shards), World()).passes
    assert [row for rows in passes for row in rows] == list(range(16))
    assert {len(rows) for rows in passes} == {16 // shards}


def test_unused_parameters_are_found() -> None:
    assert any_unused(TaskLoss(Rows(unused=True)), range(1))
    assert not any_unused(TaskLoss(Rows()), range(1))


class InTurn(Rows):
    """Two networks, of which a step trains one: the first in even steps."""

    def __init__(self) -> None:
        super().__init__()
        self.networks["other"] = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 12))

    def loss(self, step: int, rows: range) -> Tensor:
        if step % 2 == 0:
            return super().loss(step, rows)
        draws = [np.random.default_rng([step, row]).standard_normal(12, np.float32) for row in rows]
        return (self.networks["other"](torch.from_numpy(np.stack(draws))) - 1).square().mean(1)


@pytest.mark.parametrize(
    ("size", "exact", "optimizer"), [(1, False, "muon"), (1, True, "muon"), (2, False, "adamw"), (2, True, "adamw")]
)
def test_a_network_that_a_step_does_not_train_stays(tmp_path: Path, size: int, exact: bool, optimizer: str) -> None:
    """Neither momentum nor weight decay moves it, however its gradients are summed."""
    fit = replace(FIT, exact=exact, optimizer=optimizer, weight_decay=0.1)  # type: ignore[arg-type]
    moved: list[tuple[bool, bool]] = []

    def work(world: World) -> None:
        task = InTurn()

        def vector() -> list[Tensor]:
            return [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in task.networks.values()]

        before = [vector()]

        def callback(progress: Progress) -> None:
            now = vector()
            moved.append(tuple(not torch.equal(one, old) for one, old in zip(now, before[-1], strict=True)))  # type: ignore[arg-type]
            before.append(now)

        train(task, fit, EVERY, tmp_path / "run", callback)
        if world.rank == 0:
            assert moved == [(step % 2 == 0, step % 2 == 1) for step in range(10)]

    assert forked.run(size, tmp_path / "processes", work) == [""] * size


def test_exact_processes_give_the_same_bits(tmp_path: Path) -> None:
    """Of the weights, and of the losses in the log; others differ in the last bits."""
    exact = replace(FIT, exact=True)
    found = {size: trained(size, tmp_path / f"{size}", exact) for size in (1, 2, 4)}
    assert len(set(found.values())) == 1
    logs = {size: _losses(tmp_path / f"{size}") for size in found}
    assert logs[1] == logs[2] == logs[4]


def _losses(folder: Path) -> list[str]:
    return [line.split('"gradient_norm"')[0] for line in (folder / "run/log.jsonl").read_text().splitlines()]


def test_other_numbers_of_processes_differ_in_rounding_alone(tmp_path: Path) -> None:
    for size, fit in ((1, FIT), (2, replace(FIT, micro_batch=3)), (4, FIT)):
        trained(size, tmp_path / f"{size}", fit)
    for size in (2, 4):
        assert float((weights(tmp_path / f"{size}") - weights(tmp_path / "1")).abs().max()) < 1e-6


class Pixels(Rows):
    """The task of a convolution over single pixels, of a size at which its gradient has other strides than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"net": nn.Conv2d(288, 96, 1)})

    def loss(self, step: int, rows: range) -> Tensor:
        x = torch.ones(len(rows), 288, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
        return self.networks["net"](x).square().mean((1, 2, 3))


def test_processes_train_with_channels_last_without_a_warning(tmp_path: Path) -> None:
    def work(world: World) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(Pixels(), replace(FIT, steps=2, batch=64, channels_last=True), EVERY, tmp_path / "run", ignore)

    assert forked.run(2, tmp_path, work) == ["", ""]


@pytest.mark.parametrize(("size", "unused"), [(3, False), (2, True)])
def test_the_same_number_of_processes_resumes_to_the_same_bits(tmp_path: Path, size: int, unused: bool) -> None:
    """With three, a sum depends on the order in which DDP keeps gradients."""
    fit = replace(FIT, batch=24)

    def make() -> Rows:
        return Rows(0.2, unused)

    whole = trained(size, tmp_path / "whole", fit, make)
    trained(size, tmp_path / "stopped", fit, make, stop=6)
    assert trained(size, tmp_path / "stopped", fit, make) == whole


def test_a_run_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    exact = replace(FIT, exact=True)
    whole = trained(1, tmp_path / "whole", exact)
    trained(1, tmp_path / "stopped", exact, stop=6)
    assert trained(2, tmp_path / "stopped", exact) == whole


@pytest.mark.parametrize(
    ("fit", "size", "said"),
    [
        (FIT, 3, "fit.batch 16: does not divide among 3 processes; the nearest that does is 15"),
        (replace(FIT, batch=17), 3, "the nearest that does is 18"),
        (replace(FIT, batch=2), 5, "the nearest that does is 5"),
        (replace(FIT, exact=True), 8, "fit.exact_shards 4: 8 processes; their number must divide it"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(fit: FitOptions, size: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_split("fit", fit, size)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exact_shards": 3}, "exact_shards 3: a power of two"),
        ({"exact_shards": 0}, "exact_shards 0: a whole number from 1"),
        ({"exact_threads": 0}, "exact_threads 0: a whole number from 1 to 1024"),
        ({"exact": True, "batch": 18}, "exact_shards 4: must divide batch 18"),
        ({"exact": True, "micro_batch": 3}, "micro_batch 3: an exact pass has batch / exact_shards rows, 4"),
    ],
)
def test_exact_options_that_cannot_act_are_refused(fields: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(FIT, **fields)  # type: ignore[arg-type]


def test_an_exact_training_has_the_threads_of_its_recipe() -> None:
    before = torch.get_num_threads()
    said = rf"exact = true: {before + 1} CPU threads a process \(exact_threads\), not {before}"
    exact = replace(FIT, exact=True, exact_threads=before + 1)
    with pytest.warns(InputWarning, match=said), exact_threads([FIT, exact]):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with exact_threads([FIT]):
        assert torch.get_num_threads() == before


def test_random_numbers_of_torch_depend_on_the_step_and_the_first_row() -> None:
    loss = TaskLoss(Rows(dropout=0.5))
    one, again, later = (loss(*at).item() for at in ((2, range(4)), (2, range(4)), (3, range(4))))
    assert one == again != later


def test_dropout_of_a_row_is_a_function_of_its_key() -> None:
    x, keys = torch.ones(6, 5, 40), torch.tensor([5, 9, 1], dtype=torch.int32)
    whole = row_dropout(x, 0.3, keys)
    assert torch.equal(row_dropout(x[2:4], 0.3, keys[1:2]), whole[2:4])
    assert not torch.equal(whole[:2], whole[2:4])
    assert not torch.equal(whole[0], whole[1])
    assert whole.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    many = row_dropout(torch.ones(4, 50_000), 0.3, torch.arange(4, dtype=torch.int32))
    assert many.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(many)[0, 1].abs() < 0.02
    assert torch.equal(row_dropout(x[:5], 0.3, keys), row_dropout(x[:5], 0.3, keys[:1]))  # rows of no image
    assert not row_dropout(x, 1.0, keys).any()


def test_passes_of_a_process_are_its_part_of_the_batch() -> None:
    assert PassGradient(Rows(), replace(FIT, micro_batch=6), World()).passes == [
        range(6),
        range(6, 12),
        range(12, 16),
    ]
