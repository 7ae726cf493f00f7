"""The training loop of every task."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unnoise.errors import InputWarning, NonFiniteError
from unnoise.formats.atomic import replacing
from unnoise.train import checkpoint, ema
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.log import step_log
from unnoise.train.loss_scale import LossScale
from unnoise.train.machine import prepared, settled
from unnoise.train.optimizers import Optimizers, make_optimizers, set_learning_rate
from unnoise.train.snapshots import post_hoc_ema, write_snapshots
from unnoise.train.stop import Stop, stop_signals
from unnoise.train.task import Progress, Task, TrainCallback

SLOW_NORM = "Mismatch dtype between input and weight"  # torch, of autocast around a float32 normalisation


def train(
    task: Task,
    fit: FitOptions,
    checkpoints: CheckpointOptions,
    folder: Path | None,
    callback: TrainCallback,
    float16: bool = False,
) -> dict[str, Tensor]:
    """Train a task to its last step, from the checkpoint of the folder if there is one; return the averaged weights.

    Writes checkpoint.safetensors, log.jsonl, sheet-*.png and ema/*.safetensors to the folder; nothing where it is None.
    A sheet that cannot be drawn is a warning. float16: gradients pass through weights in float16, so that the loss is
    scaled.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite.
        InputError: the checkpoint is of another network.
        OutputError: the disk is full.
        TrainingStopped: SIGINT or SIGTERM came; a checkpoint of the last step is written.
    """
    fit = settled(fit)
    task = prepared(task, fit)
    run = _Run(task, fit, checkpoints, folder, LossScale(float16))
    device = next(task.networks.parameters()).device
    log_file = nullcontext(_log_nothing) if folder is None else step_log(folder / "log.jsonl", run.done)
    with stop_signals() as stop, log_file as log, plain_attention(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", SLOW_NORM)
        if folder is not None and run.sheet_due() and not sheet_path(folder, run.done).exists():
            run.write_sheet(folder)
        clock = _Clock(fit.batch, run.seconds)
        with stop.kept():
            while run.done < fit.steps:
                progress = run.step(clock)
                log(progress)
                callback(progress)
                run.save(stop)
    return run.averages[0] if folder is None else post_hoc_ema(folder, checkpoints, fit.steps)


class _Run:
    """The state of a training between two steps: weights, optimizers and averages, and how they are saved."""

    def __init__(
        self, task: Task, fit: FitOptions, checkpoints: CheckpointOptions, folder: Path | None, scale: LossScale
    ) -> None:
        self.task, self.fit, self.checkpoints, self.folder, self.scale = task, fit, checkpoints, folder, scale
        self.optimizers = make_optimizers(task, fit)
        weights = task.networks.state_dict().items()
        lengths = (checkpoints.ema_length,) if folder is None else checkpoints.ema_lengths
        self.averages = [{name: value.detach().clone() for name, value in weights} for _ in lengths]
        self.gammas = [ema.gamma(length) for length in lengths]
        self.done, self.seconds = 0, 0.0
        if folder is not None and (folder / checkpoint.FILE).exists():
            checkpoint.load_checkpoint(folder / checkpoint.FILE, task.networks, self.optimizers, self.averages)
            facts = checkpoint.read_facts(folder / checkpoint.FILE)
            self.done, self.seconds = int(facts["step"]), float(facts["seconds"])
            scale.restore(facts)

    def step(self, clock: "_Clock") -> Progress:
        """Take a step."""
        learning_rate = self.fit.learning_rate_at(self.done)
        set_learning_rate(self.optimizers, learning_rate)
        loss, norm = _optimizer_step(self.task, self.optimizers, self.fit, self.done, self.scale)
        self.done += 1
        every = self.checkpoints.ema_every
        if self.done % every == 0:
            ema.update(self.averages, self.task.networks.state_dict(), self.gammas, self.done, every)
        speed, self.seconds = clock.tick()
        return Progress(self.done, self.fit.steps, loss, norm, learning_rate, speed, self.seconds)

    def save(self, stop: Stop) -> None:
        """Write what is due. Snapshots come before the checkpoint that counts on them, and sheets after it."""
        if self.folder is None:
            return stop.check()
        last = self.done == self.fit.steps
        stopping = stop.number is not None
        sheet = self.sheet_due()
        if last or self.done % self.checkpoints.snapshot_every == 0:
            write_snapshots(self.folder, self.averages, self.gammas, self.done)
        if last or sheet or stopping or self.done % self.checkpoints.every == 0:
            facts = {"step": str(self.done), "seconds": f"{self.seconds:.1f}", **self.scale.facts()}
            path = self.folder / checkpoint.FILE
            checkpoint.save_checkpoint(path, self.task.networks, self.optimizers, self.averages, facts)
        if stopping:
            stop.check()
        if sheet:
            with stop.kept(False):
                self.write_sheet(self.folder)

    def sheet_due(self) -> bool:
        """Return whether a sheet belongs to this step: every so many, and to the last."""
        return (
            self.folder is not None
            and self.done > 0
            and (self.done == self.fit.steps or self.done % self.checkpoints.sheet_every == 0)
        )

    def write_sheet(self, folder: Path) -> None:
        """Draw a contact sheet with the averaged weights; where that fails, warn."""
        try:
            with temporary_weights(self.task.networks, self.averages[0]), torch.compiler.set_stance("force_eager"):
                sheet = self.task.sheet(self.done)
            if sheet is None:
                return
            with replacing(sheet_path(folder, self.done)) as file:
                sheet.save(file, "PNG")
        except Exception as error:
            reason = str(error) or type(error).__name__
            warnings.warn(
                f"{self.task.name}: no contact sheet after {self.done} steps, the training goes on: {reason}",
                InputWarning,
                stacklevel=2,
            )


def sheet_path(folder: Path, step: int) -> Path:
    """Return the file of the contact sheet after so many steps."""
    return folder / f"sheet-{step:06d}.png"


def _log_nothing(progress: Progress) -> None:
    pass


def training_seconds(folder: Path) -> float:
    """Return how long a task has trained, stops not counted."""
    return float(checkpoint.read_facts(folder / checkpoint.FILE)["seconds"])


def _optimizer_step(
    task: Task, optimizers: Optimizers, fit: FitOptions, step: int, scale: LossScale
) -> tuple[float, float]:
    """Take one step of the optimizers; return the loss and the norm of its gradient.

    A step whose gradient overflows under a scaled loss is computed again with a lower scale.
    """
    parameters = list(task.networks.parameters())
    while True:
        loss = task.loss(step, range(fit.batch)).mean()
        (loss * scale.value if scale.enabled else loss).backward()
        scale.unscale(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, fit.clip)
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
