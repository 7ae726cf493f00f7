"""Processes of one training: what they agree on, how they fail, stop, die and are started again by torchrun."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch.distributed import FileStore

from unnoise.cli.main import main
from unnoise.cli.train import launch
from unnoise.data.dataset import ImageDataset
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.train import checkpoint, processes
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.folder_lock import resumes
from unnoise.train.processes import World, own_device, run_facts, started, world
from unnoise.train.recipe import DataOptions
from unnoise.train.run_folder import claimed_folder

SRC = Path(__file__).resolve().parents[2] / "src"
RECIPE = """
name = "dots"
prompts = ["a dot"]
[data]
source = "{source}"
size = 8
views = 1
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = {steps}, batch = 4, warmup = 1, exact = true, precision = "float32", compile = false }}
text = {{ vocab = 270, width = 8, depth = 1, heads = 1, length = 8 }}
net.class = "DiT"
net.args = {{ channels = 3, width = 64, depth = 1, patch = 4, context = 8, vector = 8 }}
[checkpoints]
every = 5
sheet_every = 1000
"""
DOG = AdapterRecipe("dog", DataOptions("pictures"), FitOptions(steps=100, batch=8), lora=LoraOptions())


def recipe(folder: Path, steps: int) -> Path:
    folder.mkdir(exist_ok=True)
    for k in range(4):
        Image.new("RGB", (8, 8), (60 * k, 20 + 9 * k, 90 - 8 * k)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(f"a dot {k}")
    path = folder / "dots.toml"
    path.write_text(RECIPE.format(source=folder, steps=steps))
    return path


def weights(file: Path) -> str:
    """Hash a model file without its header, which carries the seconds that training took."""
    start = min(entry.start for entry in read_header(file).tensors.values())
    return hashlib.sha256(file.read_bytes()[start:]).hexdigest()


def test_one_process_waits_for_none() -> None:
    one = World()
    one.barrier()
    one.agree({"torch": "2"})
    done: list[int] = []
    one.once(lambda: done.append(1))
    with one.first():
        done.append(2)
    assert done == [1, 2]
    assert one.gathered([1.5, 2]) == [[1.5, 2]]
    assert (one.largest(3), one.same(lambda: "x"), one.split[:2]) == (3, "x", (0, 1))
    assert torch.equal(one.total(torch.ones(2)), torch.ones(2))


def test_what_processes_share(tmp_path: Path) -> None:
    def work(world: World) -> None:
        assert world.gathered([world.rank, 0.1]) == [[0, 0.1], [1, 0.1], [2, 0.1]]
        assert world.largest(7 * (world.rank == 1)) == 7
        assert world.same(lambda: f"from {world.rank}") == "from 0"
        assert world.total(torch.tensor([1, world.rank])).tolist() == [3, 3]
        world.once(lambda: (tmp_path / "once").write_text("x"))
        assert (tmp_path / "once").exists()
        with world.first():
            time.sleep(0.1 * (world.rank == 0))
            with (tmp_path / "order").open("a") as file:
                file.write(str(world.rank))
        world.barrier()
        assert (tmp_path / "order").read_text()[0] == "0"
        world.agree({"torch": "2"})

    assert forked.run(3, tmp_path / "run", work) == ["", "", ""]


def test_a_choice_that_one_process_measures_trains_in_it_alone(tmp_path: Path) -> None:
    def alone(outside: World) -> str:
        with started() as inside:
            return f"{outside.size} {inside.size} {world().size}"

    def work(outside: World) -> None:
        assert outside.same(lambda: alone(outside)) == "2 1 1"
        assert world() is outside

    assert forked.run(2, tmp_path, work) == ["", ""]


def test_threads_have_the_lock_of_python_before_a_group_ends(tmp_path: Path) -> None:
    """The end of a group holds it, and waits for a thread of gloo that may need it: both would wait for ever."""
    pid = os.fork()
    if not pid:
        sys.setswitchinterval(60)  # no thread has the lock unless this one waits
        left, had = threading.Event(), threading.Event()
        threading.Thread(target=lambda: left.wait() and had.set()).start()
        end, found = dist.destroy_process_group, []
        dist.destroy_process_group = lambda: (found.append(had.is_set()), end())
        processes.World.barrier = lambda _: left.set()  # type: ignore[method-assign]
        with processes.joined(FileStore(str(tmp_path / "store"), 1), 0, 1):
            pass
        os._exit(found != [True])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_processes_that_differ_are_named_with_both_values(tmp_path: Path) -> None:
    def work(world: World) -> None:
        world.agree({"torch": "2.6" if world.rank == 1 else "2.13", "unnoise": "1"})
        world.barrier()

    said = "InputError: process 0 of 2: torch is 2.6 in process 1, 2.13 in process 0: all processes of a training need"
    first, second = forked.run(2, tmp_path, work)
    assert first.startswith(said)
    assert second == "-"


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_one_process_ends_all_and_is_raised_once(tmp_path: Path, failing: int) -> None:
    """Also where the others wait for it: at the store, or in a sum."""

    def work(world: World, waits: Callable[[World], object]) -> None:
        if world.rank == failing:
            raise InputError("data.source 'x': no folder")
        waits(world)

    for waits in (World.barrier, lambda world: world.gathered([1.0])):
        ends = forked.run(2, tmp_path, lambda world, waits=waits: work(world, waits))  # type: ignore[misc]
        assert ends[failing] == f"InputError: process {failing} of 2: data.source 'x': no folder"
        assert ends[1 - failing] == "-"


def test_a_process_that_dies_ends_the_others_in_one_line(tmp_path: Path) -> None:
    def work(world: World) -> None:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        world.gathered([1.0])

    first, second = forked.run(2, tmp_path, work)
    assert first == "process 0 of 2: another process has ended; continue the run with --resume"
    assert second == "signal 9"


def test_the_environment_of_torchrun_is_needed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with started() as one:
        assert one.size == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK, MASTER_ADDR, MASTER_PORT not: torchrun sets them"), started():
        pass


def test_processes_take_no_device_that_cannot_be_shared(tmp_path: Path) -> None:
    def work(world: World) -> None:
        assert (own_device("cpu"), own_device("auto")) == ("cpu", "auto")
        for name, said in (("mps", "train on cpu"), ("cuda:1", "its own"), ("cuda", "its own")):
            with pytest.raises(InputError, match=said):
                own_device(name)

    assert own_device("cuda:1") == "cuda:1"
    assert forked.run(2, tmp_path, work) == ["", ""]


def test_facts_of_a_run_tell_data_apart() -> None:
    def facts(caption: str, *digest: int) -> dict[str, str]:
        digests = np.array([digest], np.uint8) if digest else None
        pixels = np.zeros((1, 1, 4), np.uint8)
        data = ImageDataset("dots", ((caption,),), ("dot",), lambda i: pixels, digests=digests)
        return run_facts(data, torch.device("cpu"))

    assert facts("a") == facts("a")
    assert len({facts(*given)["data 'dots'"] for given in (("a",), ("b",), ("a", 1), ("a", 2))}) == 4  # type: ignore[arg-type]
    assert {"unnoise", "torch", "threads", "instructions"} <= facts("a").keys()


def test_a_folder_is_claimed_by_the_first_of_the_processes(tmp_path: Path) -> None:
    def claim(recipe: Callable[[int], AdapterRecipe], folder: Callable[[int], Path], size: int = 2) -> list[str]:
        def work(world: World) -> None:
            with claimed_folder(recipe(world.rank), folder(world.rank), False, 0):
                world.barrier()

        return forked.run(size, tmp_path / "run", work)

    assert claim(lambda rank: DOG, lambda rank: tmp_path / "a") == ["", ""]
    first, second = claim(lambda rank: replace(DOG, seed=rank), lambda rank: tmp_path / "b")
    assert "recipe: seed is 1 in process 1, 0 in process 0" in first
    assert second == "-"
    first, second = claim(lambda rank: DOG, lambda rank: tmp_path / f"c{rank}")
    assert first == "-"
    assert "is not the folder that process 0 writes; use one that all machines share" in second
    ends = claim(lambda rank: DOG, lambda rank: tmp_path / "d", 3)
    assert sorted(ends)[:2] == ["-", "-"]
    assert "fit.batch 8: does not divide among 3 processes; the nearest that does is 9" in sorted(ends)[2]


def test_a_process_knows_the_run_that_its_torchrun_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claimed_folder(DOG, tmp_path, False, 0):
        pass
    assert [resumes(tmp_path, asked) for asked in (False, True)] == [False, True]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resumes(tmp_path, False)
    assert not resumes(tmp_path / "other", False)
    (tmp_path / "run.lock").write_text(f"{os.getpid()} 1-1")
    assert not resumes(tmp_path, False)


def start(rank: int, size: int, port: int, said: Path, arguments: list[str]) -> int:
    """Start a command as torchrun would, in a fork; its stderr is appended to a file."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    with suppress(BaseException):
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1"}
        with said.open("a") as sys.stderr, said.with_suffix(".out").open("a") as sys.stdout:
            code = main(arguments)
    os._exit(code)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path: Path) -> None:
    """One checkpoint, one line with the command that goes on, and the bits of one process that was not stopped."""
    path, run, said, port = recipe(tmp_path / "dots", 60), tmp_path / "run", tmp_path / "said", free_port()
    arguments = ["train", str(path), "--out", str(run)]
    pids = [start(rank, 2, port, said, arguments) for rank in range(2)]
    log = run / "denoiser/log.jsonl"
    while not log.exists() or log.read_text().count("\n") < 3:
        assert os.waitpid(pids[0], os.WNOHANG) == (0, 0), said.read_text()
        time.sleep(0.01)
    os.kill(pids[1], signal.SIGTERM)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [143, 1]  # the first prints, whichever got the signal: torchrun can hide the others
    line = (
        f"unnoise: stopped by SIGTERM; continue with: torchrun --nproc-per-node 2 -m unnoise train {path} --out {run} "
    )
    assert said.read_text().count("unnoise: ") == 1
    assert f"{line}--resume" in said.read_text()
    done = int(checkpoint.read_facts(run / "denoiser/checkpoint.safetensors")["step"])
    assert 3 <= done == json.loads(log.read_text().splitlines()[-1])["step"] < 60
    assert main([*arguments, "--resume"]) == 0
    assert main(["train", str(path), "--out", str(tmp_path / "whole")]) == 0
    assert weights(run / "dots.safetensors") == weights(tmp_path / "whole/dots.safetensors")


def test_a_process_without_data_is_one_line(tmp_path: Path) -> None:
    path, said, port = recipe(tmp_path / "dots", 5), tmp_path / "said", free_port()
    other = tmp_path / "other.toml"
    other.write_text(path.read_text().replace(str(tmp_path / "dots"), str(tmp_path / "nothing")))
    pids = [
        start(rank, 2, port, said, ["train", str((path, other)[rank]), "--out", str(tmp_path / "run")])
        for rank in range(2)
    ]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert codes == [1, 2]
    lines = [line for line in said.read_text().splitlines() if line.startswith("unnoise: ")]
    assert len(lines) == 1
    assert re.match("unnoise: process 1 of 2: .*nothing", lines[0])
    assert not (tmp_path / "run").exists()


def test_torchrun_starts_a_dead_process_again_and_nothing_is_lost(tmp_path: Path) -> None:
    """The real torchrun: a process is killed in the middle, and the weights are those of one process."""
    path, run = recipe(tmp_path / "dots", 40), tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "1", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "unnoise", "train", str(path), "--out", str(run)]
    environment = os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    saved = run / "denoiser/checkpoint.safetensors"
    while not saved.exists() and child.poll() is None:
        time.sleep(0.01)
    os.kill(int((run / "run.lock").read_text().split()[0]), signal.SIGKILL)
    with child:
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert out.count("dots.safetensors") == 1
    steps = [json.loads(line)["step"] for line in (run / "denoiser/log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 41))
    assert main(["train", str(path), "--out", str(tmp_path / "whole")]) == 0
    assert weights(run / "dots.safetensors") == weights(tmp_path / "whole/dots.safetensors")


def test_the_command_that_goes_on_starts_as_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch() == ["unnoise"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert launch() == ["torchrun", "--nproc-per-node", "8", "-m", "unnoise"]
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert launch() == ["torchrun", "--nnodes", "2", "--nproc-per-node", "8", "-m", "unnoise"]
