"""The curves of a run, from its log."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from unnoise.errors import InputError
from unnoise.train.log import LOG, read_log

MOST: Final = 7  # runs on one page
SMOOTHED: Final = 0.02  # of the steps, over which a curve is averaged
POINTS: Final = 2000  # of a curve, at most
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Curves:
    """The log of one task. name: of the run; lines: of its log, one a step."""

    name: str
    lines: Sequence[dict[str, Any]]

    def of(self, field: str) -> tuple[Array, Array]:
        """Return steps and values where the log has a field."""
        found = [(line["step"], line[field]) for line in self.lines if line.get(field) is not None]
        steps, values = np.array(found, np.float64).reshape(-1, 2).T
        return steps, values

    def last(self, field: str) -> list[float | None]:
        """Return the last list of a field; empty where there is none."""
        return next((line[field] for line in reversed(self.lines) if line.get(field)), [])


def read_curves(runs: Sequence[Path]) -> list[Curves]:
    """Read the logs of runs: the folder of a run stands for its last task, the folder of a task for itself.

    Raises:
        InputError: there are none or too many, or a folder has no log.
    """
    if not 1 <= len(runs) <= MOST:
        raise InputError(f"{len(runs)} runs: 1 to {MOST} are drawn on one page")
    folders = [_task_folder(run) for run in runs]
    short = [run.resolve().name for run in runs]
    names = short if len(set(short)) == len(short) else [str(run) for run in runs]
    return [Curves(name, _read(folder)) for name, folder in zip(names, folders, strict=True)]


def _task_folder(run: Path) -> Path:
    if (run / LOG).exists():
        return run
    logs = sorted(run.glob(f"*/{LOG}"), key=lambda path: path.parent.name)
    if not logs:
        raise InputError(f"{str(run)!r}: holds no run; give the folder of a run or of one of its tasks")
    return logs[-1].parent


def _read(folder: Path) -> list[dict[str, Any]]:
    lines = read_log(folder / LOG)
    if not lines:
        raise InputError(f"{str(folder / LOG)!r}: no step is logged yet; wait for the first")
    if not all(isinstance(line.get("step"), int) and isinstance(line.get("loss"), float | int) for line in lines):
        raise InputError(f"{str(folder / LOG)!r}: no log of unnoise: a line has no step or no loss")
    return lines


def smoothed(values: Array) -> Array:
    """Average values over a window of 2 % of the steps, around each; at the ends over the half of it that is there."""
    half = max(0, round(SMOOTHED * len(values) / 2))
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def thinned(steps: Array, values: Array) -> tuple[Array, Array]:
    """Keep at most POINTS points, the last among them."""
    every = -(-len(steps) // POINTS) or 1
    kept = np.arange(len(steps))[::-1][::every][::-1]
    return steps[kept], values[kept]
