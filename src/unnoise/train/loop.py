"""The training loop: one, for every task."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unnoise.errors import NonFiniteError
from unnoise.formats.atomic import replacing
from unnoise.train import checkpoint, ema
from unnoise.train.muon import Muon, hidden
from unnoise.train.recipe import CheckpointOptions, OptimizerOptions


class Task(Protocol):
    """What the loop trains: its networks, the loss of a step, and a picture of where it stands."""

    name: str
    parts: nn.ModuleDict
    rates: dict[str, float]  # of parameters that learn at a multiple of the common rate

    def loss(self, step: int) -> Tensor:
        """Give the mean loss of a step's batch, a function of the weights, the recipe and the step alone."""

    def sheet(self) -> Image.Image:
        """Show what the networks make."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the loop reports after a step: its 1-based number and the steps in all, the loss, the norm of the gradient,
    the learning rate, images a second, and the seconds that the task has trained, over all its runs."""

    step: int
    steps: int
    loss: float
    norm: float
    rate: float
    speed: float
    seconds: float


TrainCallback = Callable[[Progress], None]
Optimizers = Sequence[torch.optim.Optimizer]


def train(
    task: Task, fit: OptimizerOptions, keep: CheckpointOptions, folder: Path, watch: TrainCallback
) -> dict[str, Tensor]:
    """Train a task to its last step, going on from the folder's checkpoint if it has one; give the averaged weights.

    Writes into `folder`: checkpoint.safetensors, log.jsonl, sheet-*.png and ema/*.safetensors.
    Raises NonFiniteError where the loss or a gradient is NaN or infinite, InputError where a checkpoint does not fit.
    """
    parts = task.parts
    optimizers = optimizers_of(task, fit)
    averages = [{name: value.detach().clone() for name, value in parts.state_dict().items()} for _ in keep.lengths]
    gammas = [ema.gamma(length) for length in keep.lengths]
    saved = folder / "checkpoint.safetensors"
    first, spent = 0, 0.0
    if saved.exists():
        checkpoint.load_run(saved, parts, optimizers, averages)
        facts = checkpoint.read_facts(saved)
        first, spent = int(facts["step"]), float(facts["seconds"])
    parameters = list(parts.parameters())
    with _log(folder / "log.jsonl", first) as log, attention(parameters[0].device):
        clock = _Clock(fit.batch, spent)
        for step in range(first, fit.steps):
            _set_rate(optimizers, fit.rate_at(step))
            loss, norm = _descend(task, optimizers, fit.clip, step)
            done = step + 1
            if done % keep.average == 0:
                ema.update(averages, parts.state_dict(), gammas, done, keep.average)
            speed, seconds = clock.tick()
            progress = Progress(done, fit.steps, loss, norm, fit.rate_at(step), speed, seconds)
            log(progress)
            watch(progress)
            if done % keep.snapshot == 0 or done == fit.steps:
                _snapshot(folder, averages, gammas, done)
            if done % keep.sheet == 0 or done == fit.steps:
                _sheet(task, averages[0], folder / f"sheet-{done:06d}.png")
            if done % keep.checkpoint == 0 or done == fit.steps:
                facts = {"step": str(done), "seconds": f"{seconds:.1f}"}
                checkpoint.save_run(saved, parts, optimizers, averages, facts)
    return chosen(folder, keep.length, fit.steps)


def seconds_of(folder: Path) -> float:
    """Tell how long a task has trained, over all its runs, from its folder."""
    return float(checkpoint.read_facts(folder / "checkpoint.safetensors")["seconds"])


def chosen(folder: Path, length: float, step: int) -> dict[str, Tensor]:
    """Make the average of any length from the snapshots of a run, see `ema`."""
    found = sorted((folder / "ema").glob("*.safetensors"))
    facts = [checkpoint.read_facts(path) for path in found]
    known = [ema.Snapshot(float(fact["gamma"]), int(fact["step"])) for fact in facts]
    total: dict[str, Tensor] = {}
    for path, weight in zip(found, ema.coefficients(known, length, step), strict=True):
        for name, tensor in load_file(path).items():
            total[name] = total.get(name, torch.zeros_like(tensor)) + weight * tensor
    return total


def _descend(task: Task, optimizers: Optimizers, clip: float, step: int) -> tuple[float, float]:
    """Take one step of the optimizers; give the loss and the norm of its gradient."""
    loss = task.loss(step)
    if not loss.isfinite():
        raise NonFiniteError(f"{task.name}: loss is {loss.item()} at step {step + 1}, {loss.dtype}")
    loss.backward()
    norm = nn.utils.clip_grad_norm_(task.parts.parameters(), clip)
    if not norm.isfinite():
        raise NonFiniteError(f"{task.name}: gradient of {_culprit(task.parts)} is not finite at step {step + 1}")
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item(), norm.item()


def _culprit(parts: nn.Module) -> str:
    bad = (name for name, p in parts.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
    return next(bad, "the whole")


def optimizers_of(task: Task, fit: OptimizerOptions) -> Optimizers:
    """Give AdamW for every parameter, or, where the recipe says so, for those that Muon is not for, and Muon."""
    turned = hidden(task.parts) if fit.optimizer == "muon" else frozenset()
    groups: dict[float, list[nn.Parameter]] = {}
    matrices: list[nn.Parameter] = []
    for name, parameter in task.parts.named_parameters():
        if name in turned:
            matrices.append(parameter)
        else:
            groups.setdefault(task.rates.get(name, 1.0), []).append(parameter)
    members = [{"params": part, "multiple": multiple} for multiple, part in groups.items()]
    adam = torch.optim.AdamW(members, fit.rate, betas=fit.betas, weight_decay=fit.weight_decay, fused=True)
    return [adam, Muon(matrices, fit.rate)] if matrices else [adam]


def _set_rate(optimizers: Optimizers, rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("multiple", 1.0)


def _snapshot(folder: Path, averages: list[dict[str, Tensor]], gammas: list[float], step: int) -> None:
    for i, (track, power) in enumerate(zip(averages, gammas, strict=True)):
        path = folder / "ema" / f"track{i}-{step:06d}.safetensors"
        checkpoint.write_tensors(path, track, {"gamma": repr(power), "step": str(step)})


def _sheet(task: Task, weights: dict[str, Tensor], path: Path) -> None:
    with using(task.parts, weights), torch.compiler.set_stance("force_eager"), replacing(path) as file:
        task.sheet().save(file, "PNG")


@contextmanager
def using(parts: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Lend other weights to networks, and put their own back bit for bit."""
    own = {name: tensor.clone() for name, tensor in parts.state_dict().items()}
    parts.load_state_dict(weights)
    try:
        yield
    finally:
        parts.load_state_dict(own)


@contextmanager
def attention(device: torch.device) -> Iterator[None]:
    """On a CPU, the plain form of attention: a whole step was measured 14 % faster than with torch's fused one."""
    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def _log(path: Path, first: int) -> Iterator[Callable[[Progress], None]]:
    """Open a log of one JSON object a step, without the lines of steps that are to be done again."""
    kept = [line for line in _lines(path) if json.loads(line)["step"] <= first]
    with replacing(path) as whole:
        whole.write("".join(kept).encode())
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield lambda progress: print(json.dumps(_rounded(progress)), file=file)


def _lines(path: Path) -> list[str]:
    """Read whole lines; the last may be half where the run was killed."""
    return [line for line in path.read_text().splitlines(True) if line.endswith("\n")] if path.exists() else []


def _rounded(progress: Progress) -> dict[str, float | int]:
    values = asdict(progress).items()
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values}


class _Clock:
    """Measure images a second, smoothed over about twenty steps, and the seconds since the task first started."""

    def __init__(self, batch: int, spent: float) -> None:
        self.batch, self.last, self.smooth, self.spent = batch, time.perf_counter(), 0.0, spent

    def tick(self) -> tuple[float, float]:
        now = time.perf_counter()
        took, self.last = now - self.last, now
        self.spent += took
        self.smooth = 0.95 * self.smooth + 0.05 * took if self.smooth else took
        return self.batch / self.smooth, self.spent
