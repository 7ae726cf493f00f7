"""The gradient of a step: of the whole batch, in passes over some of its rows, and in several processes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from unnoise.errors import InputError
from unnoise.train.exact import ExactGradient
from unnoise.train.fit_options import FitOptions
from unnoise.train.passes import TaskLoss
from unnoise.train.processes import World
from unnoise.train.shard import SplitTask
from unnoise.train.task import Task
from unnoise.train.weights import eager


class Gradient(Protocol):
    """Computes the gradient of the mean loss over a batch, the same in every process."""

    def backward(self, step: int, scale: float) -> Tensor:
        """Set the gradients of the networks to those of a step, times a scale.

        Returns:
            The share of each pass of this process in the loss; the shares of all processes add up to it.
        """


def make_gradient(task: Task, fit: FitOptions, world: World) -> Gradient:
    """Make what computes the gradients of a task. Raises InputError as `check_split` does."""
    check_split("fit", fit, world.size)
    return ExactGradient(task, fit, world) if fit.exact else PassGradient(task, fit, world)


def check_split(place: str, fit: FitOptions, size: int) -> None:
    """Raise InputError where a batch cannot be split among so many processes. place: of the options, to name it."""
    if fit.exact and fit.exact_shards % size:
        raise InputError(f"{place}.exact_shards {fit.exact_shards}: {size} processes; their number must divide it")
    if fit.batch % size:
        below = fit.batch - fit.batch % size
        nearest = below if 2 * (fit.batch - below) <= size and below else below + size
        raise InputError(
            f"{place}.batch {fit.batch}: does not divide among {size} processes; the nearest that does is {nearest}"
        )


class PassGradient:
    """A pass for every `micro_batch` rows of the part of a process; the gradients of the last meet those of others."""

    def __init__(self, task: Task, fit: FitOptions, world: World) -> None:
        rows = fit.batch // world.size
        part = range(world.rank * rows, (world.rank + 1) * rows)
        self.batch, self.rows = fit.batch, rows
        self.passes = [part[k : k + (fit.micro_batch or rows)] for k in range(0, rows, fit.micro_batch or rows)]
        self.loss: TaskLoss | DistributedDataParallel = TaskLoss(task)
        self.split = task if isinstance(task, SplitTask) else None
        if world.size > 1 and self.split is None:
            self.loss = _distributed(self.loss, part[:1], world)

    def backward(self, step: int, scale: float) -> Tensor:
        """Compute gradients, see `Gradient`."""
        shares = []
        for rows in self.passes:
            with self._alone(rows is not self.passes[-1]):
                loss = self.loss(step, rows)
                (loss * (scale * len(rows) / self.rows)).backward()
            shares.append(loss.detach().float() * (len(rows) / self.batch))
        return torch.stack(shares)

    def _alone(self, alone: bool) -> AbstractContextManager[None]:
        """Keep the gradients of the block in this process, where `alone`."""
        if alone and isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        if alone and self.split is not None:
            return self.split.no_sync()
        return nullcontext()


def _distributed(loss: TaskLoss, rows: range, world: World) -> DistributedDataParallel:
    """Wrap a loss in DDP, whose order of sums is settled: it decides the order after a first pass, taken here."""
    unused = world.largest(any_unused(loss, rows)) > 0
    made = DistributedDataParallel(
        loss, broadcast_buffers=False, find_unused_parameters=unused, gradient_as_bucket_view=True
    )
    with eager(loss):
        made(0, rows).backward()
    made.zero_grad(set_to_none=True)
    return made


def any_unused(loss: TaskLoss, rows: range) -> bool:
    """Return whether the loss of rows of the first step leaves a trained parameter out of its graph."""
    left = {id(parameter) for parameter in loss.parameters() if parameter.requires_grad}
    with eager(loss):
        root = loss(0, rows).grad_fn
    nodes, seen = [root], {root}
    while nodes and left:
        node = nodes.pop()
        left.discard(id(getattr(node, "variable", None)))
        fresh = {after for after, _ in node.next_functions if after is not None} - seen
        nodes.extend(fresh)
        seen |= fresh
    return bool(left)
