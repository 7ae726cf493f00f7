"""The figures of a finished run, for the card of its model and for the end of `unnoise train`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from unnoise.adapters.controlnet import ControlCard
from unnoise.adapters.lora.compatibility import LoraCard
from unnoise.card import Card
from unnoise.train.checkpoint import FILE
from unnoise.train.ema_choice import EmaChoice, read_choice
from unnoise.train.log import LOG, read_log
from unnoise.train.loop import training_seconds

C = TypeVar("C", Card, LoraCard, ControlCard)
LAST: Final = 0.1  # of the steps, over which the training loss is averaged


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a task.

    Args:
        task: its name, which is that of its folder.
        steps: that were trained.
        loss: of training, the mean over the last tenth of the steps.
        seconds: of training, stops not counted.
        images_per_second: at the end.
        ema: the length of the average, and how it was chosen; None before the end.
    """

    task: str
    steps: int
    loss: float
    seconds: float
    images_per_second: float
    ema: EmaChoice | None

    def facts(self) -> dict[str, Any]:
        """Return what a card says."""
        found: dict[str, Any] = {"training_loss": _short(self.loss)}
        if self.ema is None:
            return found
        found["ema"] = self.ema.length
        if self.ema.validation is not None:
            found["validation_loss"] = _short(self.ema.validation)
        if len(self.ema.tried) > 1:
            found["ema_validation"] = {f"{length:g}": _short(loss) for length, loss in self.ema.tried}
        return found

    def lines(self) -> list[str]:
        """Return what the end of a training says, aligned."""
        rows = {"training loss": f"{self.loss:.4g}, mean of the last tenth of {self.steps} steps"}
        if self.ema is not None and self.ema.validation is not None:
            rows["validation loss"] = f"{self.ema.validation:.4g}, on held-out images at fixed noise"
        rows["time"] = f"{duration(self.seconds)}, {speed(self.images_per_second)} at the end"
        if self.ema is not None:
            rows["EMA length"] = f"{self.ema.length:g}{_table(self.ema)}"
        return [self.task, *(f"  {name:16} {value}" for name, value in rows.items())]


def read_figures(folder: Path) -> list[Figures]:
    """Read the figures of the tasks of a run, in the order of training."""
    found = [_task_figures(path.parent) for path in folder.glob(f"*/{LOG}") if (path.parent / FILE).exists()]
    return sorted((one for one in found if one is not None), key=lambda one: one.task)


def with_figures(card: C, folder: Path) -> C:
    """Add the losses of a run to the training facts of a card."""
    return replace(card, training=card.training | read_figures(folder)[-1].facts())


def _task_figures(folder: Path) -> Figures | None:
    lines = read_log(folder / LOG)
    if not lines:
        return None
    losses = [line["loss"] for line in lines[-max(1, round(LAST * len(lines))) :]]
    seconds = training_seconds(folder)
    speed = lines[-1]["images_per_second"]
    return Figures(folder.name, lines[-1]["step"], sum(losses) / len(losses), seconds, speed, read_choice(folder))


def speed(images_per_second: float) -> str:
    """Write a speed for people: 1375 images/s, 90.5 images/s."""
    shown = f"{images_per_second:.0f}" if images_per_second >= 100 else f"{images_per_second:.3g}"
    return f"{shown} images/s"


def duration(seconds: float) -> str:
    """Write a duration for people: 48 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _table(ema: EmaChoice) -> str:
    if len(ema.tried) < 2:
        return ""
    return ", the best of " + ", ".join(f"{length:g} ({loss:.5g})" for length, loss in ema.tried)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
