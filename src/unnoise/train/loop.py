"""The training loop of every task."""

import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise.devices import peak_memory
from unnoise.errors import InputWarning, NonFiniteError
from unnoise.formats.atomic import replacing
from unnoise.train import checkpoint, ema
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.ema_choice import candidates, check_ema_length, choose_ema, write_choice
from unnoise.train.fit_options import FitOptions
from unnoise.train.log import LOG, read_log, step_log
from unnoise.train.loss_scale import LossScale
from unnoise.train.machine import prepared, settled
from unnoise.train.memorising import MemorisingWatch
from unnoise.train.optimizers import Optimizers, make_optimizers, set_learning_rate
from unnoise.train.snapshots import post_hoc_ema, write_snapshots
from unnoise.train.stop import Stop, stop_signals
from unnoise.train.task import Progress, Task, TrainCallback
from unnoise.train.validation import NOTHING, Monitor
from unnoise.train.weights import eager, evaluating, plain_attention, temporary_weights

SLOW_NORM = "Mismatch dtype between input and weight"  # torch, of autocast around a float32 normalisation


def train(
    task: Task,
    fit: FitOptions,
    checkpoints: CheckpointOptions,
    folder: Path | None,
    callback: TrainCallback,
    float16: bool = False,
    monitor: Monitor = NOTHING,
) -> dict[str, Tensor]:
    """Train a task to its last step, from the checkpoint of the folder if there is one; return the averaged weights.

    Writes checkpoint.safetensors, log.jsonl, sheet-*.png and ema/*.safetensors to the folder; nothing where it is None.
    A sheet that cannot be drawn is a warning. float16: gradients pass through weights in float16, so that the loss is
    scaled. monitor: what is measured beside the loss.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite.
        InputError: the checkpoint is of another network.
        OutputError: the disk is full.
        TrainingStopped: SIGINT or SIGTERM came; a checkpoint of the last step is written.
    """
    check_ema_length(checkpoints, monitor.validation is not None)
    fit = settled(fit)
    task = prepared(task, fit)
    run = _Run(task, fit, checkpoints, folder, LossScale(float16))
    device = next(task.networks.parameters()).device
    log_file = nullcontext(_log_nothing) if folder is None else step_log(folder / LOG, run.done)
    with stop_signals() as stop, log_file as log, plain_attention(device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", SLOW_NORM)
        if folder is not None and run.sheet_due() and not sheet_path(folder, run.done).exists():
            run.write_sheet(folder)
        watch = MemorisingWatch(task.name, [] if folder is None else read_log(folder / LOG))
        clock = _Clock(fit.batch, run.seconds)
        with stop.kept():
            while run.done < fit.steps:
                progress = run.step(clock)
                if run.validation_due():
                    progress = monitor.observe(progress, lambda: run.evaluating(run.averages[0]))
                    run.seconds = clock.skip()
                log(progress)
                watch(progress)
                callback(progress)
                run.save(stop)
    return run.finished(monitor)


class _Run:
    """The state of a training between two steps: weights, optimizers and averages, and how they are saved."""

    def __init__(
        self, task: Task, fit: FitOptions, checkpoints: CheckpointOptions, folder: Path | None, scale: LossScale
    ) -> None:
        self.task, self.fit, self.checkpoints, self.folder, self.scale = task, fit, checkpoints, folder, scale
        self.optimizers = make_optimizers(task, fit)
        weights = task.networks.state_dict().items()
        lengths = candidates(checkpoints) if folder is None else checkpoints.ema_lengths
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
        eta = (self.fit.steps - self.done) * self.fit.batch / speed
        memory = peak_memory(next(self.task.networks.parameters()).device)
        return Progress(self.done, self.fit.steps, loss, norm, learning_rate, speed, self.seconds, eta, memory)

    def validation_due(self) -> bool:
        """Return whether the monitor measures after this step: every so many, and the last."""
        return self.done == self.fit.steps or self.done % self.checkpoints.validate_every == 0

    def evaluating(self, weights: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Compute with other weights within the context."""
        return evaluating(self.task.networks, weights, self.fit.precision == "bfloat16")

    def finished(self, monitor: Monitor) -> dict[str, Tensor]:
        """Return the weights of the finished model: their average of the length of the recipe, or of the best one."""
        averages = dict(zip(candidates(self.checkpoints), self.averages, strict=False))

        def average(length: float) -> dict[str, Tensor]:
            if self.folder is None:
                return averages[length]
            return post_hoc_ema(self.folder, self.checkpoints, self.fit.steps, length)

        def evaluate(weights: Mapping[str, Tensor]) -> float:
            assert monitor.validation is not None
            with self.evaluating(weights):
                return monitor.validation.losses().mean().item()

        choice, weights = choose_ema(self.checkpoints, average, evaluate if monitor.validation else None)
        if self.folder is not None:
            write_choice(self.folder, choice)
        return weights

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
            with temporary_weights(self.task.networks, self.averages[0]), eager(self.task.networks):
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

    def skip(self) -> float:
        """Count what was done since the last tick as seconds of the training, and not of a step; return all seconds."""
        now = time.perf_counter()
        self.spent, self.last = self.spent + now - self.last, now
        return self.spent
