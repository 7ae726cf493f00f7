"""The training loop of every task."""

import errno
import json
import time
import warnings
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

from unnoise.errors import InputWarning, NonFiniteError
from unnoise.formats.atomic import refusing_writes, replacing
from unnoise.formats.json_text import json_object
from unnoise.formats.open_file import read_text
from unnoise.train import checkpoint, ema
from unnoise.train.loss_scale import LossScale
from unnoise.train.muon import Muon, hidden_weights
from unnoise.train.recipe import CheckpointOptions, OptimizerOptions
from unnoise.train.stop import Stop, stop_signals

LOG_BYTES = 1 << 30  # of a log that is read


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
SLOW_NORM = "Mismatch dtype between input and weight"  # torch, of autocast around a float32 normalisation


def train(
    task: Task,
    fit: OptimizerOptions,
    checkpoints: CheckpointOptions,
    folder: Path,
    callback: TrainCallback,
    float16: bool = False,
) -> dict[str, Tensor]:
    """Train a task to its last step, from the checkpoint of the folder if there is one; return the averaged weights.

    Writes checkpoint.safetensors, log.jsonl, sheet-*.png and ema/*.safetensors to the folder. A sheet that cannot be
    drawn is a warning. float16: gradients pass through weights in float16, so that the loss is scaled.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite.
        InputError: the checkpoint is of another network.
        OutputError: the disk is full.
        TrainingStopped: SIGINT or SIGTERM came; a checkpoint of the last step is written.
    """
    run = _Run(task, fit, checkpoints, folder, LossScale(float16))
    device = next(task.networks.parameters()).device
    log_file = _log(folder / "log.jsonl", run.done)
    with stop_signals() as stop, log_file as log, plain_attention(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", SLOW_NORM)
        if run.sheet_due() and not run.sheet_path.exists():
            run.write_sheet()
        clock = _Clock(fit.batch, run.seconds)
        with stop.kept():
            while run.done < fit.steps:
                progress = run.step(clock)
                log(progress)
                callback(progress)
                run.save(stop)
    return post_hoc_ema(folder, checkpoints, fit.steps)


class _Run:
    """The state of a training between two steps: weights, optimizers and averages, and how they are saved."""

    def __init__(
        self, task: Task, fit: OptimizerOptions, checkpoints: CheckpointOptions, folder: Path, scale: LossScale
    ) -> None:
        self.task, self.fit, self.checkpoints, self.folder, self.scale = task, fit, checkpoints, folder, scale
        self.optimizers = make_optimizers(task, fit)
        weights = task.networks.state_dict().items()
        self.averages = [{name: value.detach().clone() for name, value in weights} for _ in checkpoints.ema_lengths]
        self.gammas = [ema.gamma(length) for length in checkpoints.ema_lengths]
        self.done, self.seconds = 0, 0.0
        self.saved = folder / "checkpoint.safetensors"
        if self.saved.exists():
            checkpoint.load_checkpoint(self.saved, task.networks, self.optimizers, self.averages)
            facts = checkpoint.read_facts(self.saved)
            self.done, self.seconds = int(facts["step"]), float(facts["seconds"])
            scale.restore(facts)

    def step(self, clock: "_Clock") -> Progress:
        """Take a step."""
        learning_rate = self.fit.learning_rate_at(self.done)
        _set_learning_rate(self.optimizers, learning_rate)
        loss, norm = _optimizer_step(self.task, self.optimizers, self.fit.clip, self.done, self.scale)
        self.done += 1
        every = self.checkpoints.ema_every
        if self.done % every == 0:
            ema.update(self.averages, self.task.networks.state_dict(), self.gammas, self.done, every)
        speed, self.seconds = clock.tick()
        return Progress(self.done, self.fit.steps, loss, norm, learning_rate, speed, self.seconds)

    def save(self, stop: Stop) -> None:
        """Write what is due. Snapshots come before the checkpoint that counts on them, and sheets after it."""
        last = self.done == self.fit.steps
        stopping = stop.number is not None
        sheet = self.sheet_due()
        if last or self.done % self.checkpoints.snapshot_every == 0:
            _write_snapshots(self.folder, self.averages, self.gammas, self.done)
        if last or sheet or stopping or self.done % self.checkpoints.every == 0:
            facts = {"step": str(self.done), "seconds": f"{self.seconds:.1f}", **self.scale.facts()}
            checkpoint.save_checkpoint(self.saved, self.task.networks, self.optimizers, self.averages, facts)
        if stopping:
            stop.check()
        if sheet:
            with stop.kept(False):
                self.write_sheet()

    def sheet_due(self) -> bool:
        """Return whether a sheet belongs to this step: every so many, and to the last."""
        return self.done > 0 and (self.done == self.fit.steps or self.done % self.checkpoints.sheet_every == 0)

    @property
    def sheet_path(self) -> Path:
        """The file of the sheet of this step."""
        return self.folder / f"sheet-{self.done:06d}.png"

    def write_sheet(self) -> None:
        """Draw a contact sheet with the averaged weights; where that fails, warn."""
        try:
            with temporary_weights(self.task.networks, self.averages[0]), torch.compiler.set_stance("force_eager"):
                sheet = self.task.sheet(self.done)
            with replacing(self.sheet_path) as file:
                sheet.save(file, "PNG")
        except Exception as error:
            reason = str(error) or type(error).__name__
            warnings.warn(
                f"{self.task.name}: no contact sheet after {self.done} steps, the training goes on: {reason}",
                InputWarning,
                stacklevel=2,
            )


def training_seconds(folder: Path) -> float:
    """Return how long a task has trained, stops not counted."""
    return float(checkpoint.read_facts(folder / "checkpoint.safetensors")["seconds"])


def post_hoc_ema(folder: Path, checkpoints: CheckpointOptions, steps: int) -> dict[str, Tensor]:
    """Compute the EMA of length `ema_length` from the snapshots of a run of so many steps; see `ema`.

    The snapshot of the last step of a run that was extended later is left out, as a longer run would not have it.
    """
    snapshots: dict[Path, ema.Snapshot] = {}
    for path in sorted((folder / "ema").glob("*.safetensors")):
        facts = checkpoint.read_facts(path)
        step = int(facts["step"])
        if step == steps or (step < steps and step % checkpoints.snapshot_every == 0):
            snapshots[path] = ema.Snapshot(float(facts["gamma"]), step)
    total: dict[str, Tensor] = {}
    weights = ema.coefficients([*snapshots.values()], checkpoints.ema_length, steps)
    for path, weight in zip(snapshots, weights, strict=True):
        for name, tensor in load_file(path).items():
            total[name] = total.get(name, torch.zeros_like(tensor)) + weight * tensor
    return total


def _optimizer_step(
    task: Task, optimizers: Optimizers, clip: float, step: int, scale: LossScale
) -> tuple[float, float]:
    """Take one step of the optimizers; return the loss and the norm of its gradient.

    A step whose gradient overflows under a scaled loss is computed again with a lower scale.
    """
    parameters = list(task.networks.parameters())
    while True:
        loss = task.loss(step)
        (loss * scale.value if scale.enabled else loss).backward()
        scale.unscale(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, clip)
        value, size = torch.stack([loss.detach().float(), norm.float()]).tolist()  # the only wait of a step
        if not isfinite(value):
            raise NonFiniteError(f"{task.name}: loss is {value} at step {step + 1}, {loss.dtype}")
        if isfinite(size):
            break
        if not scale.lowered():
            raise NonFiniteError(
                f"{task.name}: gradient of {_non_finite_gradient(task.networks)} is not finite at step {step + 1}"
            )
        task.networks.zero_grad(set_to_none=True)
    scale.passed()
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
    lines = [line for line in _lines(path) if json_object(line)["step"] <= first]
    with replacing(path) as whole:
        whole.write("".join(lines).encode())
    with path.open("ab", buffering=0) as file:

        def write(progress: Progress) -> None:
            line = f"{json.dumps(_rounded(progress))}\n".encode()
            with refusing_writes(path):
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, "no space left on the device")

        yield write


def _lines(path: Path) -> list[str]:
    """Read the complete lines; the last is incomplete where the run was killed."""
    return (
        [line for line in read_text(path, LOG_BYTES).splitlines(True) if line.endswith("\n")] if path.exists() else []
    )


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
