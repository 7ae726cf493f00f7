"""What the training loop trains, and the progress that it reports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PIL import Image
from torch import Tensor, nn


class Task(Protocol):
    """What the loop trains: networks, the loss of a step, and a contact sheet of samples."""

    name: str
    networks: nn.ModuleDict  # the first is the one that is compiled
    learning_rate_multiples: dict[str, float]  # by name of parameter; 1 for the others

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of the batch of a step: (len(rows),).

        Row r of step s is a function of the weights, the recipe, s and r alone, not of the other rows, so that a batch
        can be split between processes and between passes.
        """

    def sheet(self, step: int) -> Image.Image | None:
        """Draw a contact sheet of samples after so many steps; None where there is nothing to draw."""


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
