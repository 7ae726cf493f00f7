"""Networks that are split among two processes: the steps of one, the bits of the same run, the files of any number."""

import errno
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import forked
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from unnoise.card import Part
from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError, InputWarning
from unnoise.nets.dit import DiT
from unnoise.train import sharded_checkpoint
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.muon import Muon
from unnoise.train.own_options import split_options
from unnoise.train.processes import World
from unnoise.train.recipe import AutoencoderOptions, DataOptions, DenoiserOptions, TextOptions, TrainingRecipe
from unnoise.train.shard import SplitTask, _blocks, whole_networks
from unnoise.train.sharded_checkpoint import own_part, own_rows, whole
from unnoise.train.task import Progress
from unnoise.train.tiny_decoder_recipe import TinyDecoderOptions, TinyDecoderRecipe
from unnoise.train.validation import Monitor, Validation
from unnoise.train.weights import temporary_weights

EVERY = CheckpointOptions(ema_every=1, snapshot_every=2, every=2, sheet_every=4, validate_every=3)
FIT = FitOptions(steps=4, batch=4, learning_rate=1e-3, warmup=1, micro_batch=1, shard=True)


class Rows:
    """The task of bringing a small DiT to a constant, on noise of its own for each row."""

    name = "rows"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net, self.gain = DiT(3, 64, 2, labels=2), nn.Linear(3, 3, bias=False)  # three rows are split unevenly
        self.networks = nn.ModuleDict({"net": self.net, "gain": self.gain})
        for parameter in self.networks.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.learning_rate_multiples: dict[str, float] = {}

    def loss(self, step: int, rows: range) -> Tensor:
        return self._error([100 * step + row for row in rows])

    def held_out(self, rows: range) -> Tensor:
        return self._error([10_000 + row for row in rows])

    def _error(self, seeds: list[int]) -> Tensor:
        x = torch.stack([torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        out = self.net(x, torch.ones(len(seeds)), Conditioning(label=torch.tensor(seeds) % 2))
        return (self.gain(out.movedim(1, 3)) - 1).square().mean((1, 2, 3))

    def sheet(self, step: int) -> Image.Image:
        shade = int(100 * self._error([1]).item())
        return Image.new("L", (2, 2), shade % 256)


def run(folder: Path, fit: FitOptions, callback: object = None) -> tuple[Rows, dict[str, Tensor], list[Progress]]:
    task, progress = Rows(), list[Progress]()

    def called(one: Progress) -> None:
        progress.append(one)
        if callable(callback):
            callback(one)

    monitor = Monitor(Validation(task.held_out, 3, 1))
    return task, train(task, fit, EVERY, folder, called, monitor=monitor), progress


def finish(world: World, task: Rows, averaged: dict[str, Tensor], path: Path) -> None:
    """Write the finished weights from process 0."""
    with temporary_weights(task.networks, averaged), whole_networks(task.networks, world):
        if world.rank == 0:
            save_file({name: tensor.clone() for name, tensor in task.networks.state_dict().items()}, path)
        else:
            assert all(hasattr(tensor, "full_tensor") for tensor in task.networks.parameters())


def split_run(folder: Path, world: World) -> None:
    """Train whole, copy the state after two steps on the way, and go on from the copy."""
    torch.set_num_threads(1)

    def copy(progress: Progress) -> None:
        if progress.step == 3:
            shutil.copytree(folder / "whole", folder / "half")
            shutil.copytree(folder / "whole", folder / "one")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", InputWarning)
        task, averaged, progress = run(folder / "whole", FIT, copy)
        again, goal, _ = run(folder / "half", FIT)
    lines = [str(one.message) for one in said if one.category is InputWarning]
    assert len(lines) == (0 if world.rank else 2)
    assert all(re.match(r"fit\.shard true: [1-9][\d,]+ parameters; below about 1,000,000,000 ", one) for one in lines)
    finish(world, task, averaged, folder / "whole.safetensors")
    if world.rank == 0:
        (folder / "losses").write_text(" ".join(repr(one.loss) for one in progress))
        (folder / "validation").write_text(repr(progress[-1].validation))
    finish(world, again, goal, folder / "half.safetensors")
    check_muon()


def check_muon() -> None:
    """Muon orthogonalizes whole matrices: the weights of split networks are those of whole ones, to the bit."""
    whole_task, task = Rows(), Rows()
    SplitTask(cast(Any, task))
    pairs = [
        (one, two)
        for one, two in zip(whole_task.networks.parameters(), task.networks.parameters(), strict=True)
        if one.ndim == 2
    ]
    optimizers = [Muon(members, 0.1) for members in zip(*pairs, strict=True)]
    for step in range(2):
        for one, two in pairs:
            one.grad, two.grad = (one.detach() + step).cos(), torch.empty_like(two)
            own_part(two.grad, two).copy_(own_part(one.grad, two))
        for optimizer in optimizers:
            optimizer.step()
    assert all(torch.equal(one, whole(two)) for one, two in pairs)


def half_written(path: Path, world: World) -> None:
    """Write a file, and fail in process 1 while another is written over it."""
    rows = distribute_tensor(torch.arange(7.0), init_device_mesh("cpu", (2,)), [Shard(0)])
    write_tensors(path, {"rows": rows, "alone": torch.ones(3)}, {"of": f"process {world.rank}"})

    def full(tensor: Tensor) -> memoryview:
        raise OSError(errno.ENOSPC, "No space left on device")

    if world.rank:
        sharded_checkpoint.raw = full  # type: ignore[assignment]
    write_tensors(path, {"rows": rows + 1}, {})


def test_a_disk_that_fills_for_one_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "files/some.safetensors"
    refused = f"OutputError: process 1 of 2: cannot write {str(path)!r}: No space left on device"
    assert forked.run(2, tmp_path, lambda world: half_written(path, world)) == ["-", refused]
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert read_facts(path) == {"of": "process 0"}
    stored = load_file(path)
    assert stored["rows"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert stored["alone"].tolist() == [1, 1, 1]


def largest(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def distance(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return the root mean square of differences, over that of the values; of Adam's first steps, which amplify the
    last bits of a gradient that is almost zero, the largest difference says little."""
    assert one.keys() == two.keys()
    error = sum(float((one[name] - two[name]).square().sum()) for name in one)
    return (error / sum(float(two[name].square().sum()) for name in one)) ** 0.5


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split")
    assert forked.run(2, folder, lambda world: split_run(folder, world)) == ["", ""]
    return folder


def test_steps_are_those_of_one_process(split: Path, tmp_path: Path) -> None:
    _, averaged, progress = run(tmp_path / "plain", replace(FIT, shard=False, channels_last=False, micro_batch=4))
    losses = [float(loss) for loss in (split / "losses").read_text().split()]
    assert losses == pytest.approx([one.loss for one in progress], abs=1e-6)
    assert float((split / "validation").read_text()) == pytest.approx(progress[-1].validation, abs=1e-6)
    assert distance(load_file(split / "whole.safetensors"), averaged) < 1e-6
    own, one = (load_file(folder / "checkpoint.safetensors") for folder in (split / "whole", tmp_path / "plain"))
    assert distance(own, one) < 1e-6
    moments = [name for name in one if name.startswith("exp_avg")]
    assert largest({name: own[name] for name in moments}, {name: one[name] for name in moments}) < 1e-6
    assert (split / "whole/sheet-000004.png").read_bytes() == (tmp_path / "plain/sheet-000004.png").read_bytes()


def test_a_resumed_run_has_the_same_bits(split: Path) -> None:
    assert largest(load_file(split / "whole.safetensors"), load_file(split / "half.safetensors")) == 0
    whole, half = (load_file(split / name / "checkpoint.safetensors") for name in ("whole", "half"))
    assert largest(whole, half) == 0


def test_another_number_of_processes_goes_on(split: Path) -> None:
    with pytest.warns(InputWarning, match="one process, which holds the networks whole"):
        _, averaged, progress = run(split / "one", FIT)
    assert [one.step for one in progress] == [3, 4]
    assert largest(load_file(split / "whole.safetensors"), averaged) < 1e-6


@pytest.mark.parametrize(("rows", "size"), [(7, 2), (1, 2), (5, 4), (0, 3), (8, 4), (9, 8)])
def test_rows_are_those_of_chunk(rows: int, size: int) -> None:
    parts = [list(own_rows(rows, rank, size)) for rank in range(size)]
    chunks = [chunk.tolist() for chunk in torch.arange(rows).chunk(size)] if rows else []
    assert parts == chunks + [[]] * (size - len(chunks))


@pytest.mark.parametrize("other", ["exact", "compile", "channels_last"])
def test_what_does_not_go_together_is_refused(other: str) -> None:
    with pytest.raises(InputError, match=f"shard true: does not go together with {other} = true"):
        replace(FIT, **{other: True})  # type: ignore[arg-type]


def test_only_a_trained_denoiser_is_split() -> None:
    data = DataOptions("emoji")
    with pytest.raises(InputError, match=r"fit\.shard true: splits networks that are trained"):
        AdapterRecipe("a", data, FIT, lora=LoraOptions())
    autoencoder = AutoencoderOptions(fit=FIT)
    denoiser = DenoiserOptions(fit=FIT, net=Part("UNet"), process=Part("Flow"))
    with pytest.raises(InputError, match=r"autoencoder\.fit\.shard true: only the denoiser"):
        TrainingRecipe("a", data, denoiser, autoencoder)
    with pytest.raises(InputError, match=r"^denoiser\.text\.fit\.shard true: only the denoiser"):
        TrainingRecipe("a", data, replace(denoiser, text=TextOptions(fit=FIT)))
    with pytest.raises(InputError, match=r"^fit\.shard true: only a denoiser can be split"):
        TinyDecoderRecipe("a", data, TinyDecoderOptions("emoji"), FIT)
    with pytest.raises(InputError, match="shard True: the net would stay split"):
        split_options({"shard": True}, 10)


def test_a_block_within_another_comes_first() -> None:
    class Outer(nn.Sequential):
        _no_split_modules = ("Outer", "Linear")

    net = Outer(nn.Linear(1, 1), nn.ReLU())
    assert _blocks(nn.ModuleDict({"net": net})) == [net[0], net]
