"""Say when a model memorises its images: the validation loss rises while the training loss falls."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from unnoise.errors import InputWarning
from unnoise.train.task import Progress

PATIENCE: Final = 3  # validations after the best one, all above it
RISE, FALL = 0.02, 0.01  # of the validation loss above its best, and of the training loss since then, as shares


@dataclass(frozen=True, slots=True)
class _Point:
    """A validation: its step, its loss, and the mean training loss since the validation before."""

    step: int
    validation: float
    training: float


class MemorisingWatch:
    """A callback that warns once. earlier: lines of the log before, of a run that is resumed."""

    def __init__(self, name: str, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self.name, self.points, self.said = name, list[_Point](), False
        self._losses = list[float]()
        for line in earlier:
            self._add(line["step"], line["loss"], line.get("validation"))
        self.said = self._message() is not None

    def __call__(self, progress: Progress) -> None:
        """Warn (InputWarning) where this step shows it first."""
        self._add(progress.step, progress.loss, progress.validation)
        if progress.validation is None or self.said:
            return
        message = self._message()
        if message is not None:
            self.said = True
            warnings.warn(message, InputWarning, stacklevel=2)

    def _add(self, step: int, loss: float, validation: float | None) -> None:
        self._losses.append(loss)
        if validation is not None:
            self.points.append(_Point(step, validation, sum(self._losses) / len(self._losses)))
            self._losses = []

    def _message(self) -> str | None:
        if not self.points:
            return None
        best, last = min(self.points, key=lambda point: point.validation), self.points[-1]
        after = len(self.points) - 1 - self.points.index(best)
        rises = last.validation > best.validation * (1 + RISE)
        falls = last.training < best.training * (1 - FALL)
        if after < PATIENCE or not rises or not falls:
            return None
        return (
            f"{self.name}: the model memorises its images: since step {best.step} the validation loss rose from "
            f"{best.validation:.4g} to {last.validation:.4g}, while the training loss fell from {best.training:.4g} to "
            f"{last.training:.4g}; use more images, augmentation or fewer steps"
        )
