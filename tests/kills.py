"""Kill trainings at random moments, let them go on, and compare their end with that of trainings nobody killed.

python tests/kills.py --kills 40 --seed 7        every kind in turn, an equal share of the kills each
python tests/kills.py --only "1, then 2"         one kind

The real commands train a tiny autoencoder and a tiny denoiser. A kill is SIGKILL to every process of the run, which
then goes on with --resume, or to one of several processes, which torchrun starts again. With the same number of
processes, or an exact training, the tensors of all files must be equal to the bit; with another number, the losses to
1e-6 and the weights to 1e-5. Each step is in the log once.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from safetensors.torch import load_file

from unnoise.formats.header import read_header

SRC = Path(__file__).resolve().parents[1] / "src"
TASKS = ("autoencoder", "denoiser")
LOSS, WEIGHT = 1e-6, 1e-5  # largest differences, after another number of processes
EARLY = 0.25  # share of the kills that come at any time of a start, before its first step
PAUSE = 0.05  # seconds, at most, between a step and a kill: some steps, or the writing of a checkpoint
LONGEST = 300  # seconds until something must happen
RESTARTS = 1000
RECIPE = """
name = "dots"
prompts = ["a dot"]
[data]
source = "{folder}"
size = 8
views = 2
validation = 0.25
{autoencoder}
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 60, {fit} }}
text = {{ vocab = 270, width = 64, depth = 1, heads = 1, length = 8 }}
[denoiser.net]
class = "DiT"
args = {{ channels = {channels}, width = 64, depth = 1, patch = 2, context = 64, vector = 64 }}
[checkpoints]
every = 3
snapshot_every = 5
sheet_every = 20
validate_every = 7
"""
AUTOENCODER = "[autoencoder]\nargs = {{ width = 32, encode = 1, decode = 1 }}\nfit = {{ steps = 20, {fit} }}"
FIT = (
    'batch = 8, warmup = 10, learning_rate = 1e-3, precision = "float32", compile = false, channels_last = false, '
    "exact = {exact}"
)


@dataclass(frozen=True)
class Kind:
    """How a training is begun and how it goes on.

    Args:
        name: for the table.
        first: processes at the start.
        then: processes after the first kill.
        exact: an exact training.
        autoencoder: is trained, too; otherwise the denoiser draws pixels.
    """

    name: str
    first: int
    then: int
    exact: bool = False
    autoencoder: bool = True

    @property
    def equal(self) -> bool:
        """Whether the end must be the same to the bit."""
        return self.exact or self.first == self.then

    def recipe(self, folder: Path) -> str:
        """Return the recipe."""
        fit = FIT.format(exact=str(self.exact).lower())
        autoencoder = AUTOENCODER.format(fit=fit) if self.autoencoder else ""
        return RECIPE.format(folder=folder, autoencoder=autoencoder, fit=fit, channels=4 if autoencoder else 3)


KINDS = (
    Kind("1 process", 1, 1),
    Kind("2 processes", 2, 2),
    Kind("1, then 2", 1, 2, autoencoder=False),  # whose last bits would decide what the denoiser learns
    Kind("1, then 2, exact", 1, 2, exact=True),
)


class Training:
    """A training in a folder, in its processes."""

    def __init__(self, recipe: Path, out: Path, size: int, resume: bool) -> None:
        self.out, self.size = out, size
        several = ["-m", "torch.distributed.run", f"--max-restarts={RESTARTS}", f"--nproc-per-node={size}"]
        command = [sys.executable, *(several if size > 1 else []), "-m", "unnoise", "train", str(recipe)]
        self.began = self.steps()
        self.said = out.with_suffix(".said")
        with self.said.open("a") as said:
            self.child = subprocess.Popen(
                [*command, "--out", str(out), *(["--resume"] if resume else [])],
                env=os.environ | {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
                stdout=said,
                stderr=said,
            )

    def steps(self) -> int:
        """Count the steps in the logs."""
        logs = (self.out / task / "log.jsonl" for task in TASKS)
        return sum(log.read_bytes().count(b"\n") for log in logs if log.exists())

    def workers(self) -> list[int]:
        """Return the processes that train."""
        if self.size == 1:
            return [self.child.pid]
        return [pid for pid in children(self.child.pid) if b"unnoise" in command_of(pid)]

    def reaches(self, step: int) -> bool:
        """Wait until a step is in the log; return False where the training ended before."""
        end = time.monotonic() + LONGEST
        while self.child.poll() is None and self.steps() < step:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.out}: {self.steps()} steps, waiting for {step}\n{self.said.read_text()}")
            time.sleep(0.005)
        return self.child.poll() is None

    def kill_one(self, chance: random.Random) -> bool:
        """Kill one process of several; return False where the training ended before."""
        while self.child.poll() is None:
            if (workers := self.workers()) and kill(chance.choice(workers)):
                return True
            time.sleep(0.005)
        return False

    def kill_all(self) -> bool:
        """Kill every process; return False where the training ended before."""
        if self.child.poll() is not None:
            return False
        workers = self.workers()
        for pid in (self.child.pid, *workers):  # first the one that would start the others again
            kill(pid)
        self.child.wait()
        while any(command_of(pid) for pid in workers):
            time.sleep(0.005)
        return True

    def finish(self) -> None:
        """Wait for the end. Raises RuntimeError where the training failed."""
        if self.child.wait(LONGEST):
            raise RuntimeError(f"{self.out}: exit code {self.child.returncode}\n{self.said.read_text()}")


def kill(pid: int) -> bool:
    """Kill a process; return whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_of(pid: int) -> bytes:
    """Return the command line of a process; empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@dataclass
class Result:
    """What was found of a kind."""

    runs: int = 0
    one: int = 0  # kills of one process
    every: int = 0  # kills of all processes
    differing: list[str] = field(default_factory=list)
    loss: float = 0.0
    weight: float = 0.0

    def line(self, kind: Kind) -> str:
        """Return the row of the table."""
        ends = f"{self.runs - len(self.differing)} of {self.runs}"
        return f"{kind.name:18}{self.one:8}{self.every:8}{ends:>12}{self.loss:14.1e}{self.weight:14.1e}"


def digest(file: Path) -> str:
    """Hash the tensors of a file, without its header, which carries seconds."""
    start = min(entry.start for entry in read_header(file).tensors.values())
    return hashlib.sha256(file.read_bytes()[start:]).hexdigest()


def log_of(out: Path) -> list[tuple[str, int, float]]:
    """Return task, step and loss of each step of a run."""
    logs = [(task, out / task / "log.jsonl") for task in TASKS]
    lines = [(task, json.loads(line)) for task, log in logs if log.exists() for line in log.read_text().splitlines()]
    return [(task, line["step"], line["loss"]) for task, line in lines]


def weights_difference(one: Path, other: Path) -> float:
    """Return the largest difference of the weights of two runs and of their averages, after the last step."""
    own, its = (load_file(out / "denoiser/checkpoint.safetensors") for out in (one, other))
    names = [name for name in own if name.startswith(("weights.", "track"))]
    return max((own[name] - its[name]).abs().max().item() for name in names)


def faults(kind: Kind, out: Path, reference: Path, result: Result) -> Iterator[str]:
    """List what is wrong with the end of a run, and note its differences."""
    own, its = log_of(out), log_of(reference)
    if [line[:2] for line in own] != [line[:2] for line in its]:
        yield f"the log has the steps {[line[:2] for line in own]}"
        return
    loss = max(abs(one[2] - other[2]) for one, other in zip(own, its, strict=True))
    weight = weights_difference(out, reference)
    result.loss, result.weight = max(result.loss, loss), max(result.weight, weight)
    if not kind.equal:
        if loss > LOSS or weight > WEIGHT:
            yield f"loss differs by {loss:.1e}, weights by {weight:.1e}"
        return
    files = {file.relative_to(reference) for file in reference.rglob("*.safetensors")}
    if files != {file.relative_to(out) for file in out.rglob("*.safetensors")}:
        yield "other files"
        return
    differing = [str(file) for file in sorted(files) if digest(out / file) != digest(reference / file)]
    if differing or own != its:
        yield f"other bits: {', '.join(differing) or 'log'}"


def killed_run(kind: Kind, recipe: Path, out: Path, kills: int, chance: random.Random, start: float) -> list[bool]:
    """Train with at most so many kills, to the end; return for each whether it was of one process.

    Args:
        kind: of the run.
        recipe: its file.
        out: its folder.
        kills: to make.
        chance: draws the moments.
        start: seconds from a start to its first step.
    """
    total = sum(map(int, re.findall(r"steps = (\d+)", recipe.read_text())))
    run, done = Training(recipe, out, kind.first, False), []
    while len(done) < kills:
        if chance.random() < EARLY:
            time.sleep(chance.uniform(0, start))
        elif not run.reaches(chance.randint(run.steps() + 1, max(run.steps() + 1, total))):
            break
        time.sleep(chance.uniform(0, PAUSE))
        alone = run.size > 1 and chance.random() < 0.5
        if not (run.kill_one(chance) if alone else run.kill_all()):
            break
        done.append(alone)
        if not alone:
            run = Training(recipe, out, kind.then, True)
    run.finish()
    return done


def examine(kind: Kind, folder: Path, kills: int, chance: random.Random) -> Result:
    """Kill runs of a kind so many times, and compare each with one that was not killed."""
    recipe, reference, result = folder / "dots.toml", folder / "reference", Result()
    recipe.write_text(kind.recipe(folder.parent / "dots"))
    began = time.monotonic()
    whole = Training(recipe, reference, kind.then if kind.first == kind.then else 1, False)
    whole.reaches(1)
    start = time.monotonic() - began
    whole.finish()
    while result.one + result.every < kills:
        out = folder / f"run-{result.runs}"
        left = min(kills - result.one - result.every, chance.randint(2, 6))
        done = killed_run(kind, recipe, out, left, chance, start)
        result.runs += 1
        result.one += sum(done)
        result.every += done.count(False)
        found = list(faults(kind, out, reference, result))
        result.differing += found
        largest = f"so far loss within {result.loss:.1e}, weights within {result.weight:.1e}"
        said = "; ".join(found) or f"as promised; {largest}"
        print(f"  {kind.name}, run {result.runs}: {len(done)} kills, {said}", flush=True)
        if not found:
            shutil.rmtree(out)
    return result


def pictures(folder: Path) -> None:
    """Write sixteen small captioned pictures."""
    folder.mkdir()
    for k in range(16):
        Image.effect_noise((8, 8), 20 + 10 * k).convert("RGB").save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(f"a dot {k}")


def main(arguments: Sequence[str]) -> int:
    """Kill trainings; the exit status is 1 where an end is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--only", default="", help="name of a kind")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, help="folder for the runs; one that is removed by default")
    given = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if given.only in ("", kind.name)]
    shares = [given.kills * (k + 1) // len(kinds) - given.kills * k // len(kinds) for k in range(len(kinds))]
    rows, bad = [], 0
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as temporary:
        root = (given.keep or Path(temporary)).resolve()
        root.mkdir(parents=True, exist_ok=True)
        pictures(root / "dots")
        for kind, kills in zip(kinds, shares, strict=True):
            folder = root / re.sub(r"\W+", "-", kind.name)
            folder.mkdir()
            result = examine(kind, folder, kills, random.Random(f"{given.seed} {kind.name}"))
            rows.append(result.line(kind))
            bad += len(result.differing)
    print(f"{'processes':18}{'one':>8}{'all':>8}{'as promised':>12}{'loss':>14}{'weights':>14}")
    print("\n".join(rows))
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
