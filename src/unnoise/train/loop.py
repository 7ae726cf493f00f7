"""The training loop of every task."""

import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn

from unnoise.devices import peak_memory
from unnoise.errors import InputWarning, NonFiniteError
from unnoise.formats.atomic import replacing
from unnoise.train import checkpoint, ema
from unnoise.train.allocator import keep_freed_memory
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.ema_choice import candidates, check_ema_length, choose_ema, write_choice
from unnoise.train.exact import exact_threads
from unnoise.train.fit_options import FitOptions
from unnoise.train.gradients import make_gradient
from unnoise.train.log import LOG, read_log, step_log
from unnoise.train.loss_scale import LossScale
from unnoise.train.machine import prepared, settled
from unnoise.train.memorising import MemorisingWatch
from unnoise.train.optimizers import make_optimizers, set_learning_rate
from unnoise.train.processes import World, started
from unnoise.train.shard import SplitTask, split_task
from unnoise.train.sharded_checkpoint import whole
from unnoise.train.snapshots import post_hoc_ema, write_snapshots
from unnoise.train.stop import Stop, stop_signals
from unnoise.train.task import Progress, Task, TrainCallback
from unnoise.train.validation import NOTHING, Monitor
from unnoise.train.weights import eager, evaluating, plain_attention, temporary_weights

QUIET = (
    "Mismatch dtype between input and weight",  # torch, of autocast around a float32 normalisation
    "Grad strides do not match bucket view strides",  # of DDP, around a convolution over single pixels: it copies them
    "`broadcast_buffers` is deprecated",  # torch 2.13, of DDP; older versions have no other name
)


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
    A sheet that cannot be drawn is a warning. Of several processes, the first writes, and calls the callback. float16:
    gradients pass through weights in float16, so that the loss is scaled. monitor: what is measured beside the loss.

    Raises:
        NonFiniteError: the loss or a gradient is NaN or infinite.
        InputError: the checkpoint is of another network.
        OutputError: the disk is full.
        TrainingStopped: SIGINT or SIGTERM came; a checkpoint of the last step is written.
    """
    check_ema_length(checkpoints, monitor.validation is not None)
    device = next(task.networks.parameters()).device
    if device.type == "cpu":
        keep_freed_memory()
    cards = [device] if device.type == "cuda" else []
    with started() as world, exact_threads([fit]), torch.random.fork_rng(cards), warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        fit = settled(task, fit, folder, world)
        task = prepared(task, fit)
        if fit.shard:
            task, monitor = split_task(task, monitor, world)
        run = _Run(task, fit, checkpoints, folder, LossScale(float16), world)
        if monitor.levels is not None:
            monitor.levels.take()  # of what was computed before the first step
        with plain_attention(device):
            _train(run, monitor, callback if world.rank == 0 else _ignore)
        return run.finished(monitor)


def _train(run: "_Run", monitor: Monitor, callback: TrainCallback) -> None:
    """Take the steps that are left."""
    log_file = nullcontext(_ignore) if run.folder is None else step_log(run.folder / LOG, run.done)
    earlier = [] if run.folder is None else read_log(run.folder / LOG)
    watch = MemorisingWatch(run.task.name, earlier) if run.world.rank == 0 else _ignore
    with stop_signals() as stop, log_file as log:
        if run.writes is not None and run.sheet_due() and not sheet_path(run.writes, run.done).exists():
            run.write_sheet(run.writes)
        clock = _Clock(run.fit.batch, run.seconds)
        with stop.kept():
            while run.done < run.fit.steps:
                progress = run.step(clock)
                if run.validation_due():
                    progress = monitor.observe(progress, lambda: run.evaluating(run.averages[0]), *run.world.split)
                    run.seconds = clock.skip()
                log(progress)
                watch(progress)
                callback(progress)
                run.save(stop)


class _Run:
    """The state of a training between two steps: weights, optimizers and averages, and how they are saved.

    Of several processes, the first writes to the folder, and all read it. Each computes the averages, which are the
    same, and measures its part of the held-out rows with them. Where networks are split among processes, all write.
    """

    def __init__(
        self,
        task: Task,
        fit: FitOptions,
        checkpoints: CheckpointOptions,
        folder: Path | None,
        scale: LossScale,
        world: World,
    ) -> None:
        self.task, self.fit, self.checkpoints, self.scale, self.world = task, fit, checkpoints, scale, world
        self.shared, self.folder = folder, folder if world.rank == 0 else None
        self.writes = folder if isinstance(task, SplitTask) else self.folder  # where this process takes part in writing
        self.optimizers = make_optimizers(task, fit)
        self.parameters = list(task.networks.parameters())
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
        world.agree({f"the step that {task.name} goes on from": str(self.done)})
        self.gradient = make_gradient(task, fit, world)

    def step(self, clock: "_Clock") -> Progress:
        """Take a step."""
        learning_rate = self.fit.learning_rate_at(self.done)
        set_learning_rate(self.optimizers, learning_rate)
        loss, norm = self._optimizer_step()
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
        self.world.barrier()  # the snapshots are written
        averages = dict(zip(candidates(self.checkpoints), self.averages, strict=False))

        def average(length: float) -> dict[str, Tensor]:
            if self.shared is None:
                return averages[length]
            own = self.task.networks.state_dict()
            return post_hoc_ema(self.shared, self.checkpoints, self.fit.steps, length, own)

        def evaluate(weights: Mapping[str, Tensor]) -> float:
            assert monitor.validation is not None
            with self.evaluating(weights):
                return monitor.validation.losses(*self.world.split).mean().item()

        choice, weights = choose_ema(self.checkpoints, average, evaluate if monitor.validation else None)
        if self.folder is not None:
            write_choice(self.folder, choice)
        return weights

    def _optimizer_step(self) -> tuple[float, float]:
        """Take one step of the optimizers; return the loss and the norm of its gradient.

        A step whose gradient overflows under a scaled loss is computed again with a lower scale.
        """
        networks, parameters, scale = self.task.networks, self.parameters, self.scale
        at = f"at step {self.done + 1}"
        while True:
            shares = self.gradient.backward(self.done, scale.value)
            scale.unscale(parameters)
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            *own, size = torch.cat([shares, whole(norm).float()[None]]).tolist()  # the only wait of a step
            loss = sum(chain.from_iterable(self.world.gathered(own)))
            if not isfinite(loss):
                raise NonFiniteError(f"{self.task.name}: loss is {loss} {at}, {shares.dtype}")
            if isfinite(size):
                break
            if not scale.lowered():
                bad = _non_finite_gradient(networks)
                raise NonFiniteError(f"{self.task.name}: gradient of {bad} is not finite {at}")
            networks.zero_grad(set_to_none=True)
        scale.passed()
        if size > self.fit.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.fit.clip, norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss, size

    def save(self, stop: Stop) -> None:
        """Write what is due. Snapshots come before the checkpoint that counts on them, and sheets after it."""
        number = self.world.largest(stop.number or 0)  # a signal that came to any process counts in all
        if self.writes is not None:
            self._write_due(self.writes, number > 0)
        if number:
            stop.number = number
            self.world.barrier()  # a process that ends earlier would end the one that writes
            with self.world.first():  # which prints; the others end as it does
                stop.check()
        if self.writes is not None and self.sheet_due():
            with stop.kept(self.world.size > 1):  # the other processes are in the next step
                self.write_sheet(self.writes)

    def _write_due(self, folder: Path, stopping: bool) -> None:
        last = self.done == self.fit.steps
        if last or self.done % self.checkpoints.snapshot_every == 0:
            write_snapshots(folder, self.averages, self.gammas, self.done)
        if last or stopping or self.sheet_due() or self.done % self.checkpoints.every == 0:
            facts = {"step": str(self.done), "seconds": f"{self.seconds:.1f}", **self.scale.facts()}
            path = folder / checkpoint.FILE
            checkpoint.save_checkpoint(path, self.task.networks, self.optimizers, self.averages, facts)

    def sheet_due(self) -> bool:
        """Return whether a sheet belongs to this step: every so many, and to the last."""
        return (
            self.shared is not None
            and self.done > 0
            and (self.done == self.fit.steps or self.done % self.checkpoints.sheet_every == 0)
        )

    def write_sheet(self, folder: Path) -> None:
        """Draw a contact sheet with the averaged weights; where that fails, warn."""
        try:
            with temporary_weights(self.task.networks, self.averages[0]), eager(self.task.networks):
                sheet = self.task.sheet(self.done)
            if sheet is None or self.world.rank:
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


def _ignore(progress: Progress) -> None:
    pass


def training_seconds(folder: Path) -> float:
    """Return how long a task has trained, stops not counted."""
    return float(checkpoint.read_facts(folder / checkpoint.FILE)["seconds"])


def _non_finite_gradient(networks: nn.Module) -> str:
    gradients = ((name, p.grad) for name, p in networks.named_parameters() if p.grad is not None)
    bad = (name for name, gradient in gradients if not whole(gradient).isfinite().all())
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
