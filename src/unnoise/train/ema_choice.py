"""The EMA length of the finished model: the one of the recipe, or the best of several on held-out images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.atomic import replacing
from unnoise.formats.open_file import read_text
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.train.checkpoint_options import CheckpointOptions

FILE: Final = "ema.json"  # in the folder of a task
TRIED: Final = 5  # lengths, in equal ratios from the shortest to the longest
Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class EmaChoice(Strict):
    """The EMA length of a finished model.

    Args:
        length: of the average, as a share of the run.
        tried: lengths, each with its validation loss; empty without validation.
    """

    length: float
    tried: tuple[tuple[float, float], ...] = ()

    @property
    def validation(self) -> float | None:
        """The validation loss of the finished model; None without validation."""
        return dict(self.tried).get(self.length)


def check_ema_length(checkpoints: CheckpointOptions, held_out: bool) -> None:
    """Raise InputError where the length is to be chosen, and no images are held out to choose it on."""
    if checkpoints.ema_length == "auto" and not held_out:
        raise InputError(
            'checkpoints.ema_length "auto": is chosen on held-out images, and none are; set data.validation, such as '
            "0.05, or a length"
        )


def candidates(checkpoints: CheckpointOptions) -> tuple[float, ...]:
    """Return the lengths that are tried: that of the recipe, or several between the two averages."""
    if checkpoints.ema_length != "auto":
        return (checkpoints.ema_length,)
    return tuple(round(float(length), 4) for length in np.geomspace(*checkpoints.ema_lengths, TRIED))


def choose_ema(
    checkpoints: CheckpointOptions, average: Callable[[float], Weights], evaluate: Callable[[Weights], float] | None
) -> tuple[EmaChoice, Weights]:
    """Choose the length with the lowest validation loss; return it with its weights.

    Args:
        average: length -> the averaged weights.
        evaluate: weights -> their validation loss; None without validation, where the first length is taken.
    """
    first, *others = candidates(checkpoints)
    best, weights = first, average(first)
    if evaluate is None:
        return EmaChoice(first), weights
    tried = {first: evaluate(weights)}
    for length in others:
        other = average(length)
        tried[length] = evaluate(other)
        if tried[length] < tried[best]:
            best, weights = length, other
    return EmaChoice(best, tuple(tried.items())), weights


def write_choice(folder: Path, choice: EmaChoice) -> None:
    """Write a choice to the folder of its task."""
    with replacing(folder / FILE) as file:
        file.write(dump(choice).encode())


def read_choice(folder: Path) -> EmaChoice | None:
    """Read the choice of a task; None where its training has not ended."""
    path = folder / FILE
    return parse(EmaChoice, read_text(path), str(path)) if path.exists() else None
