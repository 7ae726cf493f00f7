"""What the training loop trains, and the progress that it reports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image
from torch import Tensor, nn


class Task(Protocol):
    """What the loop trains: networks, the loss of a step, and a contact sheet of samples."""

    name: str
    networks: nn.ModuleDict  # the first is the one that is compiled, with those of `frozen`, where a task has that
    learning_rate_multiples: dict[str, float]  # by name of parameter; 1 for the others

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of the batch of a step: (len(rows),).

        Row r of step s is a function of the weights, the recipe, s and r alone, not of the other rows, so that a batch
        can be split between processes and between passes. A task that keeps a part of it for later steps has a method
        `clear_cache`, which is called after passes in another arithmetic than that of the run.
        """

    def sheet(self, step: int) -> Image.Image | None:
        """Draw a contact sheet of samples after so many steps; None where there is nothing to draw."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress after a step.

    Args:
        step: 1-based, of `steps`.
        loss: the mean over the batch.
        gradient_norm: before it is clipped.
        images_per_second: smoothed over about twenty steps.
        seconds: of the whole training, stops not counted.
        eta: seconds to the last step at this speed.
        memory: bytes at the peak, of the device, or of the process on a CPU.
        by_level: the loss of training by noise level since the last step that has it, see `Monitor`; None where no row
            fell into a bin, empty in other steps.
        validation: the loss on held-out images at fixed noise; None in steps without validation.
        validation_by_level: the same by noise level.
        level_edges: the sigmas between the bins, where there are bins.
        figures: of samples, by name, in steps in which a monitor draws some.
    """

    step: int
    steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    images_per_second: float
    seconds: float
    eta: float = 0.0
    memory: int = 0
    by_level: tuple[float | None, ...] = ()
    validation: float | None = None
    validation_by_level: tuple[float, ...] = ()
    level_edges: tuple[float, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)


def sheet_title(run: str, task: str, step: int, ema_length: float) -> str:
    """Return the title of a contact sheet, which is drawn with averaged weights."""
    return f"{run}: {task} after {step} steps, EMA length {ema_length:g}"


TrainCallback = Callable[[Progress], None]
