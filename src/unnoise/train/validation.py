"""What a run shows beside its loss: the loss on held-out images at fixed noise, and losses by noise level.

A bin is an eighth of the training distribution: bin k has the levels between its quantiles k/8 and (k + 1)/8.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from unnoise.train.task import Progress

BINS: Final = 8
BLOCK: Final = 16  # rows of a pass; the same always, as sums of a network depend on the rows beside
COST: Final = 0.05  # rows of a validation, over rows trained between two; a row without gradient costs a third of one
LEAST_ROWS: Final = 64
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
        losses = losses.detach().float()[:, None]
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
    """

    validation: Validation | None = None
    levels: LevelLosses | None = None

    def observe(self, progress: Progress, rank: int = 0, ranks: int = 1, total: Total = alone) -> Progress:
        """Add the losses by noise level, and the loss on held-out rows with the weights of now."""
        if self.levels is not None:
            progress = replace(progress, by_level=self.levels.take(total), level_edges=self.levels.edges)
        if self.validation is None:
            return progress
        losses = self.validation.losses(rank, ranks, total)
        by_level = () if self.levels is None else level_means(losses)
        return replace(progress, validation=losses.mean().item(), validation_by_level=by_level)


NOTHING: Final = Monitor()


def bins(quantiles: Tensor) -> Tensor:
    """Return the bin of each place in the training distribution."""
    return (quantiles * BINS).long().clamp(0, BINS - 1)


def row_quantiles(rows: int) -> Tensor:
    """Return the place of each held-out row in the training distribution: as many rows in each bin, bins in turn."""
    r = torch.arange(rows)
    return (r % BINS + (r // BINS + 0.5) / -(-rows // BINS)) / BINS


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


@contextmanager
def evaluation_mode(networks: nn.Module) -> Iterator[None]:
    """Turn dropout off within the context."""
    training = [module for module in networks.modules() if module.training]
    networks.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
