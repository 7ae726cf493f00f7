"""What a run shows beside its loss: the loss on held-out images at fixed noise, and losses by noise level.

A bin is an eighth of the training distribution: bin k has the levels between its quantiles k/8 and (k + 1)/8.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from unnoise.diffusion.noise import numbers
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.task import Progress

BINS: Final = 8
BLOCK: Final = 16  # rows of a pass; the same always, as sums of a network depend on the rows beside
COST: Final = 0.05  # rows of a validation, over rows trained between two; a row without gradient costs a third of one
LEAST_ROWS: Final = 64
SEED, VALIDATE = 0, 16  # of the random streams of this file: the same for every run; their first coordinate
Total = Callable[[Tensor], Tensor]  # the sum of a tensor over the processes


def alone(part: Tensor) -> Tensor:
    """Return the sum over one process."""
    return part


class LevelLosses:
    """The losses of trained rows by noise level, since they were last taken. edges: the sigmas between the bins."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self._sums: Tensor | None = None

    def add(self, quantiles: Tensor, losses: Tensor) -> None:
        """Add rows: their places in the training distribution, 0 to 1, and their losses."""
        own = bins(quantiles).to(losses.device)[:, None] == torch.arange(BINS, device=losses.device)
        losses = losses.detach().float().expand(len(quantiles))[:, None]
        sums = torch.stack([torch.where(own, losses, 0).sum(0), own.float().sum(0)])
        self._sums = sums if self._sums is None else self._sums + sums

    def take(self, total: Total = alone) -> tuple[float | None, ...]:
        """Return the mean of each bin, None for an empty one, and begin anew."""
        sums = torch.zeros(2, BINS) if self._sums is None else self._sums
        self._sums = None
        losses, counts = total(sums).tolist()
        return tuple(loss / count if count else None for loss, count in zip(losses, counts, strict=True))


@dataclass(frozen=True, slots=True)
class Validation:
    """Held-out rows. Row r is an image, a noise level and a noise that never change.

    Args:
        loss: rows -> their losses (len(rows),), with the weights of now.
        rows: how many there are.
        block: rows of a pass, at most.
    """

    loss: Callable[[range], Tensor]
    rows: int
    block: int = BLOCK

    @torch.no_grad()
    def losses(self, rank: int = 0, ranks: int = 1, total: Total = alone) -> Tensor:
        """Return the loss of every row in float64, the same bits for any number of processes: (rows,)."""
        found: Tensor | None = None
        for k, at in enumerate(range(0, self.rows, self.block)):
            if k % ranks == rank:
                part = self.loss(range(at, min(at + self.block, self.rows))).double()
                found = part.new_zeros(self.rows) if found is None else found
                found[at : at + self.block] = part
        return total(torch.zeros(self.rows, dtype=torch.float64) if found is None else found).cpu()


@dataclass(frozen=True, slots=True)
class Monitor:
    """What the loop measures every `checkpoints.validate_every` steps, and after the last.

    Args:
        validation: held-out rows, if any.
        levels: where the task records the losses of trained rows; None for a task without noise levels.
        samples: step -> figures of samples that it draws with the weights of now; None draws none.
    """

    validation: Validation | None = None
    levels: LevelLosses | None = None
    samples: Callable[[int], dict[str, float]] | None = None

    @property
    def rows(self) -> int:
        """How many held-out rows there are."""
        return 0 if self.validation is None else self.validation.rows

    def observe(
        self,
        progress: Progress,
        evaluating: Callable[[], AbstractContextManager[None]],
        rank: int = 0,
        ranks: int = 1,
        total: Total = alone,
    ) -> Progress:
        """Add the losses by noise level; the loss on held-out rows and figures of samples within `evaluating`."""
        if self.levels is not None:
            progress = replace(progress, by_level=self.levels.take(total), level_edges=self.levels.edges)
        if self.samples is not None:
            with evaluating():
                progress = replace(progress, figures=self.samples(progress.step))
        if self.validation is None:
            return progress
        with evaluating():
            losses = self.validation.losses(rank, ranks, total)
        by_level = () if self.levels is None else level_means(losses)
        return replace(progress, validation=losses.mean().item(), validation_by_level=by_level)


NOTHING: Final = Monitor()


def make_monitor(
    loss: Callable[[range], Tensor],
    images: int,
    fit: FitOptions,
    checkpoints: CheckpointOptions,
    levels: LevelLosses | None = None,
) -> Monitor:
    """Make the monitor of a task. images: how many are held out; with none there is no validation."""
    if not images:
        return Monitor(None, levels)
    rows = count_rows(images, fit.batch, checkpoints.validate_every)
    return Monitor(Validation(loss, rows, min(BLOCK, fit.batch)), levels)


def bins(quantiles: Tensor) -> Tensor:
    """Return the bin of each place in the training distribution."""
    return (quantiles * BINS).long().clamp(0, BINS - 1)


def row_quantiles(rows: int) -> Tensor:
    """Return the place of each held-out row in the training distribution: as many rows in each bin, bins in turn."""
    r = torch.arange(rows)
    return (r % BINS + (r // BINS + 0.5) / -(-rows // BINS)) / BINS


def row_images(rows: range, images: int) -> list[int]:
    """Return the image of each held-out row: all in turn, in an order that is always the same, at changing levels."""
    order = numbers(SEED, VALIDATE, 0, 0).permutation(images)
    return [int(order[(r + r // images) % images]) for r in rows]


def row_noise(rows: range, shape: torch.Size) -> Tensor:
    """Return the noise of each held-out row: (len(rows), *shape)."""
    noise = np.empty((len(rows), *shape), np.float32)
    for place, r in enumerate(rows):
        numbers(SEED, VALIDATE, r).standard_normal(dtype=np.float32, out=noise[place : place + 1])
    return torch.from_numpy(noise)


def level_edges(sigma: Callable[[Tensor], Tensor]) -> tuple[float, ...]:
    """Return the levels between the bins of a training distribution. sigma: of its quantiles."""
    return tuple(sigma(torch.arange(1, BINS, dtype=torch.float64) / BINS).tolist())


def level_means(losses: Tensor) -> tuple[float, ...]:
    """Return the means of the losses of held-out rows by noise level."""
    own = bins(row_quantiles(len(losses)))
    return tuple(losses[own == k].mean().item() for k in range(BINS))


def count_rows(images: int, batch: int, every: int) -> int:
    """Return the number of held-out rows: each image once, or as many rows as the cost allows.

    A small set has each image at several noise levels.
    """
    most = int(COST * batch * every)
    return max(1, min(most, max(images, LEAST_ROWS)) // BINS) * BINS
