"""Training in two processes: throughput, cost of the exact mode, and its bits; `make bench` prints it.

The embedded model's denoiser at batch 64, in float32 and not compiled, trains in one process with two threads, and in
two processes with one thread each (gloo), with and without `exact`. All are alive at once, and take their steps in
turn; a ratio is the median of the rounds. That of CPU seconds depends less on what else runs. At the end, the real
command trains a tiny model with `exact = true` in 1, 2 and 4 processes, and the sha256 of the finished weights is
printed.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}

import torch
from PIL import Image
from torch.distributed import FileStore
from training import NEVER, RARE, ROOT, task_of

from unnoise.formats.header import read_header
from unnoise.train.denoiser import DenoiserTask
from unnoise.train.loop import train
from unnoise.train.processes import joined
from unnoise.train.recipe import TrainingRecipe, read_recipe
from unnoise.train.task import Progress

BATCH, STEPS, ROUNDS = 64, 3, 7
OPTIMIZERS = ("adamw", "muon")
SIZES = (1, 2, 4)  # of the exact runs
RECIPE = """
name = "exact"
[data]
source = "{folder}"
size = 32
views = 1
validation = 0.0
[denoiser]
process = {{ class = "Flow" }}
net = {{ class = "UNet", args = {{ channels = 3, widths = [32, 64], depths = [1, 1], heads = [0, 2] }} }}
[denoiser.fit]
steps = 50
batch = 16
warmup = 10
exact = true
precision = "float32"
compile = false
channels_last = true
"""


@dataclass(frozen=True)
class Run:
    """A way to train: processes, and CPU threads of each."""

    size: int
    threads: int
    exact: bool


RUNS = {"one": Run(1, 2, False), "two": Run(2, 1, False), "exact": Run(2, 1, True)}


class Turns:
    """A run that takes some steps whenever it is asked to, in processes of its own."""

    def __init__(self, run: Run, task: DenoiserTask, recipe: TrainingRecipe, folder: Path, steps: int) -> None:
        folder.mkdir()
        self.steps = steps
        asked, self.asks = os.pipe()
        self.answers, answer = os.pipe()
        self.children = []
        for rank in range(run.size):
            if pid := os.fork():
                self.children.append(pid)
                continue
            try:
                _train(run, rank, task, recipe, folder, steps, (asked, answer))
            finally:
                os._exit(1)
        self.seconds()  # the first steps

    def seconds(self) -> tuple[float, float]:
        """Return the seconds of a step and its CPU seconds in all processes, means over some."""
        before = self._cpu()
        os.write(self.asks, b"1")
        found = float(os.read(self.answers, 100))
        return found, (self._cpu() - before) / self.steps

    def _cpu(self) -> float:
        used = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in self.children)
        return sum(int(ticks) for one in used for ticks in one) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        for pid in self.children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _train(
    run: Run, rank: int, task: DenoiserTask, recipe: TrainingRecipe, folder: Path, steps: int, pipes: tuple[int, int]
) -> None:
    asked, answer = pipes
    torch.set_num_threads(run.threads)
    began = 0.0

    def callback(progress: Progress) -> None:
        nonlocal began
        if progress.step > 1 and progress.step % steps == 1 % steps:
            os.write(answer, f"{(time.perf_counter() - began) / steps:.6f}".encode())
        if progress.step % steps == 1 % steps:
            os.read(asked, 1)
            began = time.perf_counter()

    fit = replace(recipe.denoiser.fit, steps=NEVER, exact=run.exact)
    checkpoints = replace(recipe.checkpoints, **dict.fromkeys(RARE.values(), NEVER))
    if run.size == 1:
        train(task, fit, checkpoints, folder / "run", callback)
        return
    with joined(FileStore(str(folder / "store"), run.size), rank, run.size):
        train(task, fit, checkpoints, folder / "run", callback)


@contextmanager
def started(task: DenoiserTask, recipe: TrainingRecipe, steps: int) -> Iterator[dict[str, Turns]]:
    """Start all runs for the block."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        turns = {}
        for name, run in RUNS.items():
            turns[name] = Turns(run, task, recipe, Path(folder) / name, steps)
            ends.callback(turns[name].end)
        yield turns


def throughput(optimizer: str, rounds: int, steps: int) -> None:
    """Print the speed of two processes against one, and of exact runs against others."""
    recipe = read_recipe(ROOT / "recipes/emoji.toml")
    fit = replace(
        recipe.denoiser.fit, batch=BATCH, optimizer=optimizer, precision="float32", compile=False, channels_last=True
    )
    recipe = replace(recipe, denoiser=replace(recipe.denoiser, fit=fit))
    before = os.getloadavg()[0]
    with started(task_of(recipe), recipe, steps) as turns:
        found = [{name: one.seconds() for name, one in turns.items()} for _ in range(rounds)]
    speeds = ", ".join(f"{BATCH / statistics.median(one[name][0] for one in found):.1f} {name}" for name in RUNS)
    for label, over, under, asked in (
        ("two processes / one", "one", "two", ">= 0.90"), ("exact / not, seconds", "exact", "two", "<= 1.15")
    ):  # fmt: skip
        ratios = sorted(one[over][0] / one[under][0] for one in found)
        cpu = statistics.median(one[over][1] / one[under][1] for one in found)
        print(
            f"{optimizer:6} {label:21} {statistics.median(ratios):6.2f}  asked {asked}  (rounds {ratios[0]:.2f} to "
            f"{ratios[-1]:.2f}; CPU seconds {cpu:.2f}; images/s: {speeds}; load before {before:.1f})",
            flush=True,
        )


def exact_weights(folder: Path) -> None:
    """Print the sha256 of the weights that exact runs of several numbers of processes end with."""
    recipe = folder / "exact.toml"
    recipe.write_text(RECIPE.format(folder=folder / "pictures"))
    (folder / "pictures").mkdir()
    for k in range(32):
        Image.effect_noise((32, 32), 20 + 5 * k).convert("RGB").save(folder / "pictures" / f"{k}.png")
    for size in SIZES:
        out = folder / str(size)
        torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", "-m", "unnoise"]
        subprocess.run([*torchrun, "train", str(recipe), "--out", str(out)], check=True, capture_output=True)
        file = out / "exact.safetensors"
        start = min(entry.start for entry in read_header(file).tensors.values())  # the header carries seconds
        print(f"exact, {size} process{'es'[: 2 * (size > 1)]}: {hashlib.sha256(file.read_bytes()[start:]).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each run in a round")
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--only", choices=("speed", "bits"), help="one half of the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)  # before the forks
    if given.only != "bits":
        for optimizer in given.optimizers:
            throughput(optimizer, given.rounds, given.steps)
    if given.only != "speed":
        with tempfile.TemporaryDirectory() as folder:
            exact_weights(Path(folder))


if __name__ == "__main__":
    main()
