"""Callbacks that record a training with TensorBoard or Weights & Biases.

fit(net, data, callback=tensorboard("runs/mine"))
"""

import atexit
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

from unnoise.errors import InputError
from unnoise.train.task import Progress, TrainCallback

PIP = "pip install 'unnoise[track]'"
PROJECT: Final = "unnoise"
FLUSH: Final = 10  # seconds until what TensorBoard holds is on the disk
Tracker = Literal["tensorboard", "wandb", "wandb-online"]


def tracker(name: Tracker, folder: Path, run: str) -> TrainCallback:
    """Return the callback of a tracker. folder: of its files; run: the name that it shows."""
    return tensorboard(folder) if name == "tensorboard" else wandb(folder, run, online=name == "wandb-online")


def tensorboard(folder: str | Path) -> TrainCallback:
    """Return a callback that writes event files of TensorBoard to a folder.

    A resumed run replaces the steps that it repeats.

    Raises:
        InputError: TensorBoard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(f"tensorboard: is missing ({error}): {PIP}") from None
    writers: list[Any] = []

    def write(progress: Progress) -> None:
        if not writers:
            made: Any = SummaryWriter
            writers.append(made(str(folder), purge_step=progress.step, flush_secs=FLUSH))
            atexit.register(writers[0].close)
        for name, value in scalars(progress).items():
            writers[0].add_scalar(name, value, progress.step)
        if progress.step == progress.steps:
            writers[0].flush()

    return write


def wandb(folder: str | Path, run: str, online: bool = False) -> TrainCallback:
    """Return a callback that records to Weights & Biases, in files of a folder, or online where asked.

    Args:
        folder: of its files; `wandb sync` sends them later.
        run: the name of the run.
        online: send each step to the server at once.

    Raises:
        InputError: wandb is missing.
    """
    try:
        module: Any = import_module("wandb")
    except ImportError as error:
        raise InputError(f"wandb: is missing ({error}): pip install wandb") from None
    started: list[Any] = []

    def write(progress: Progress) -> None:
        if not started:
            Path(folder).mkdir(parents=True, exist_ok=True)
            mode = "online" if online else "offline"
            started.append(module.init(project=PROJECT, name=run, dir=str(folder), mode=mode))
        started[0].log(scalars(progress), step=progress.step)
        if progress.step == progress.steps:
            started[0].finish()

    return write


def scalars(progress: Progress) -> dict[str, float]:
    """Return the numbers of a step by the names under which trackers show them."""
    found = {
        "loss/training": progress.loss,
        "training/gradient norm": progress.gradient_norm,
        "training/learning rate": progress.learning_rate,
        "speed/images a second": progress.images_per_second,
        "speed/memory in GB": progress.memory / 1e9,
    }
    if progress.validation is not None:
        found["loss/validation"] = progress.validation
    for kind, losses in (("training", progress.by_level), ("validation", progress.validation_by_level)):
        names = level_names(progress.level_edges)
        found |= {
            f"{kind} by noise level/{name}": loss for name, loss in zip(names, losses, strict=False) if loss is not None
        }
    return found


def level_names(edges: tuple[float, ...]) -> list[str]:
    """Name the bins between edges: `1 sigma below 0.32`, `2 sigma 0.32 to 0.51`, ..., `8 sigma above 3.2`."""
    shown = [f"{edge:.3g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    spans = [f"below {shown[0]}", *between, f"above {shown[-1]}"] if shown else []
    return [f"{k} sigma {span}" for k, span in enumerate(spans, 1)]


def together(*callbacks: Callable[[Progress], None]) -> TrainCallback:
    """Return a callback that calls several."""

    def call(progress: Progress) -> None:
        for callback in callbacks:
            callback(progress)

    return call
