"""Gradients whose bits do not depend on the number of processes.

A batch has a fixed number of parts, the shards, a power of two, with a pass each. Their gradients are summed by a
binary tree over the shards. A process computes neighbouring shards, which are a subtree; above, each process receives
one chunk of the sums of all processes, adds them by the tree, and all chunks are gathered. A process sends and receives
as much as in a ring all-reduce.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unnoise.errors import InputWarning
from unnoise.train.fit_options import FitOptions
from unnoise.train.passes import TaskLoss
from unnoise.train.processes import World
from unnoise.train.task import Task


class ExactGradient:
    """A pass for each shard, and a sum by the tree, see `Gradient`."""

    def __init__(self, task: Task, fit: FitOptions, world: World) -> None:
        self.loss, self.world, self.shards = TaskLoss(task), world, fit.exact_shards
        rows, own = fit.batch // fit.exact_shards, fit.exact_shards // world.size
        first = world.rank * own
        self.passes = [range(k * rows, (k + 1) * rows) for k in range(first, first + own)]
        self.parameters = [parameter for parameter in task.networks.parameters() if parameter.requires_grad]
        self.buffers = [_Flat(self.parameters, world.size) for _ in range(own.bit_length())]
        self.used = torch.zeros(len(self.parameters), dtype=torch.int32, device=self.parameters[0].device)
        if world.size > 1:
            for tensor in task.networks.state_dict().values():
                dist.broadcast(tensor, 0)

    def backward(self, step: int, scale: float) -> Tensor:
        """Compute gradients, see `Gradient`."""
        shares, height = [], 0
        self.used.zero_()
        for k, rows in enumerate(self.passes):
            loss = self.loss(step, rows)
            (loss * (scale / self.shards)).backward()
            shares.append(loss.detach().float() / self.shards)
            self.used += self.used.new_tensor([parameter.grad is not None for parameter in self.parameters])
            self.buffers[height].take(self.parameters)
            height += 1
            for _ in range(_full_subtrees(k)):
                height -= 1
                self.buffers[height - 1].whole += self.buffers[height].whole
        self._sum_processes(self.buffers[0].whole)
        self.buffers[0].give(self.parameters, self.used.tolist())
        return torch.stack(shares)

    def _sum_processes(self, whole: Tensor) -> None:
        """Add the sums of all processes, in place."""
        if self.world.size > 1:
            parts = torch.empty_like(whole)
            dist.all_to_all_single(parts, whole)
            dist.all_gather(list(whole.chunk(self.world.size)), tree_sum(parts.chunk(self.world.size)))
            dist.all_reduce(self.used)


class _Flat:
    """The gradients of parameters in one tensor, padded to a multiple of the number of processes."""

    def __init__(self, parameters: Sequence[nn.Parameter], size: int) -> None:
        count = sum(parameter.numel() for parameter in parameters)
        self.whole = torch.zeros(-(-count // size) * size, device=parameters[0].device)
        self.views: list[Tensor] = []
        at = 0
        for parameter in parameters:
            self.views.append(self.whole.as_strided(parameter.shape, _strides(parameter), at))
            at += parameter.numel()

    def take(self, parameters: Sequence[nn.Parameter]) -> None:
        """Move the gradients of parameters here; one without a gradient has zero."""
        found = [(view, p.grad) for view, p in zip(self.views, parameters, strict=True) if p.grad is not None]
        if len(found) < len(parameters):
            self.whole.zero_()
        torch._foreach_copy_([view for view, _ in found], [gradient for _, gradient in found])
        for parameter in parameters:
            parameter.grad = None

    def give(self, parameters: Sequence[nn.Parameter], used: Sequence[int]) -> None:
        """Set the gradients of parameters to the values here; one that no pass used has none, so that it stays."""
        for view, parameter, passes in zip(self.views, parameters, used, strict=True):
            parameter.grad = view.to(parameter.dtype) if passes else None


def _strides(parameter: Tensor) -> tuple[int, ...]:
    """Return the strides of a dense tensor with the memory layout of a parameter."""
    return torch.empty_like(parameter).stride()


def _full_subtrees(k: int) -> int:
    """Return how many subtrees are complete after shard k: the ones at the end of k in binary."""
    return (~k & (k + 1)).bit_length() - 1


def tree_sum(parts: Sequence[Tensor]) -> Tensor:
    """Add tensors, a power of two of them, by a binary tree."""
    while len(parts) > 1:
        parts = [left + right for left, right in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@contextmanager
def exact_threads(fits: Iterable[FitOptions]) -> Iterator[None]:
    """Compute with the CPU threads of exact options within the block, as their number decides the last bits of sums."""
    before = torch.get_num_threads()
    wanted = next((fit.exact_threads for fit in fits if fit.exact), before)
    if wanted != before:
        threads = f"{wanted} CPU thread{'s'[: wanted > 1]}"
        warnings.warn(f"exact = true: {threads} a process (exact_threads), not {before}", InputWarning, stacklevel=3)
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
