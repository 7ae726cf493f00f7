"""The training loop of every task."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import isfinite
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
from unnoise.train.muon import Muon, hidden_weights
from unnoise.train.recipe import CheckpointOptions, OptimizerOptions


class Task(Protocol):
    """What the loop trains: networks, the loss of a step, and a contact sheet of samples."""

    name: str
    networks: nn.ModuleDict
    learning_rate_multiples: dict[str, float]  # by name of parameter; 1 for the others

    def loss(self, step: int) -> Tensor:
        """Return the mean loss of a batch, a function of the weights, the recipe and the step alone."""

    def sheet(self, step: int) -> Image.Image:
        """Draw a contact sheet of samples after so many steps."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress after a step. step: 1-based; seconds: of the whole training, stops not counted."""

    step: int
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    images_per_second: float
    seconds: float


TrainCallback = Callable[[Progress], None]
Optimizers = Sequence[torch.optim.Optimizer]


def train(
    task: Task, fit: OptimizerOptions, checkpoints: CheckpointOptions, folder: Path, callback: TrainCallback
) -> dict[str, Tensor]:
    """Train a task to its last step, from the checkpoint of the folder if there is one; return the averaged weights.

    Writes checkpoint.safetensors, log.jsonl, sheet-*.png and ema/*.safetensors to the folder.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite.
        InputError: the checkpoint is of another network.
    """
    networks = task.networks
    optimizers = make_optimizers(task, fit)
    weights = networks.state_dict().items()
    averages = [{name: value.detach().clone() for name, value in weights} for _ in checkpoints.ema_lengths]
    gammas = [ema.gamma(length) for length in checkpoints.ema_lengths]
    saved = folder / "checkpoint.safetensors"
    first, spent = 0, 0.0
    if saved.exists():
        checkpoint.load_checkpoint(saved, networks, optimizers, averages)
        facts = checkpoint.read_facts(saved)
        first, spent = int(facts["step"]), float(facts["seconds"])
    device = next(networks.parameters()).device
    with _log(folder / "log.jsonl", first) as log, plain_attention(device):
        clock = _Clock(fit.batch, spent)
        for step in range(first, fit.steps):
            learning_rate = fit.learning_rate_at(step)
            _set_learning_rate(optimizers, learning_rate)
            loss, norm = _optimizer_step(task, optimizers, fit.clip, step)
            done = step + 1
            if done % checkpoints.ema_every == 0:
                ema.update(averages, networks.state_dict(), gammas, done, checkpoints.ema_every)
            speed, seconds = clock.tick()
            progress = Progress(done, fit.steps, loss, norm, learning_rate, speed, seconds)
            log(progress)
            callback(progress)
            if done % checkpoints.snapshot_every == 0 or done == fit.steps:
                _write_snapshots(folder, averages, gammas, done)
            if done % checkpoints.sheet_every == 0 or done == fit.steps:
                _write_sheet(task, averages[0], done, folder)
            if done % checkpoints.every == 0 or done == fit.steps:
                facts = {"step": str(done), "seconds": f"{seconds:.1f}"}
                checkpoint.save_checkpoint(saved, networks, optimizers, averages, facts)
    return post_hoc_ema(folder, checkpoints.ema_length, fit.steps)


def training_seconds(folder: Path) -> float:
    """Return how long a task has trained, stops not counted."""
    return float(checkpoint.read_facts(folder / "checkpoint.safetensors")["seconds"])


def post_hoc_ema(folder: Path, length: float, step: int) -> dict[str, Tensor]:
    """Compute the EMA of any length from the snapshots of a run; see `ema`."""
    found = sorted((folder / "ema").glob("*.safetensors"))
    facts = [checkpoint.read_facts(path) for path in found]
    snapshots = [ema.Snapshot(float(fact["gamma"]), int(fact["step"])) for fact in facts]
    total: dict[str, Tensor] = {}
    for path, weight in zip(found, ema.coefficients(snapshots, length, step), strict=True):
        for name, tensor in load_file(path).items():
            total[name] = total.get(name, torch.zeros_like(tensor)) + weight * tensor
    return total


def _optimizer_step(task: Task, optimizers: Optimizers, clip: float, step: int) -> tuple[float, float]:
    """Take one step of the optimizers; return the loss and the norm of its gradient."""
    loss = task.loss(step)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(task.networks.parameters(), clip)
    value, size = torch.stack([loss.detach().float(), norm.float()]).tolist()  # the only wait of a step
    if not isfinite(value):
        raise NonFiniteError(f"{task.name}: loss is {value} at step {step + 1}, {loss.dtype}")
    if not isfinite(size):
        raise NonFiniteError(
            f"{task.name}: gradient of {_non_finite_gradient(task.networks)} is not finite at step {step + 1}"
        )
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value, size


def _non_finite_gradient(networks: nn.Module) -> str:
    bad = (name for name, p in networks.named_parameters() if p.grad is not None and not p.grad.isfinite().all())
    return next(bad, "all parameters together")


def make_optimizers(task: Task, fit: OptimizerOptions) -> Optimizers:
    """Make AdamW for all parameters, or Muon for hidden weights and AdamW for the rest."""
    hidden = hidden_weights(task.networks) if fit.optimizer == "muon" else frozenset()
    groups: dict[float, list[nn.Parameter]] = {}
    matrices: list[nn.Parameter] = []
    for name, parameter in task.networks.named_parameters():
        if name in hidden:
            matrices.append(parameter)
        else:
            groups.setdefault(task.learning_rate_multiples.get(name, 1.0), []).append(parameter)
    members = [{"params": part, "multiple": multiple} for multiple, part in groups.items()]
    adam = torch.optim.AdamW(members, fit.learning_rate, betas=fit.betas, weight_decay=fit.weight_decay, fused=True)
    return [adam, Muon(matrices, fit.learning_rate)] if matrices else [adam]


def _set_learning_rate(optimizers: Optimizers, learning_rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("multiple", 1.0)


def _write_snapshots(folder: Path, averages: list[dict[str, Tensor]], gammas: list[float], step: int) -> None:
    for i, (average, power) in enumerate(zip(averages, gammas, strict=True)):
        path = folder / "ema" / f"track{i}-{step:06d}.safetensors"
        checkpoint.write_tensors(path, average, {"gamma": repr(power), "step": str(step)})


def _write_sheet(task: Task, weights: dict[str, Tensor], step: int, folder: Path) -> None:
    with temporary_weights(task.networks, weights), torch.compiler.set_stance("force_eager"):
        sheet = task.sheet(step)
    with replacing(folder / f"sheet-{step:06d}.png") as file:
        sheet.save(file, "PNG")


@contextmanager
def temporary_weights(networks: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Load other weights within the context, and restore the own ones bit for bit."""
    own = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    networks.load_state_dict(weights)
    try:
        yield
    finally:
        networks.load_state_dict(own)


@contextmanager
def plain_attention(device: torch.device) -> Iterator[None]:
    """Use torch's unfused attention on a CPU, where a whole step was measured 14 % faster."""
    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def _log(path: Path, first: int) -> Iterator[Callable[[Progress], None]]:
    """Open a log of one JSON object a step, and drop the lines of steps that will be repeated."""
    lines = [line for line in _lines(path) if json.loads(line)["step"] <= first]
    with replacing(path) as whole:
        whole.write("".join(lines).encode())
    with path.open("a", encoding="utf-8", buffering=1) as file:
        yield lambda progress: print(json.dumps(_rounded(progress)), file=file)


def _lines(path: Path) -> list[str]:
    """Read the complete lines; the last is incomplete where the run was killed."""
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
