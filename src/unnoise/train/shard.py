"""Networks that are split among processes, `fit.shard = true`: for those that do not fit into the memory of one.

Of each parameter, and of its gradient, moments and averages, a process has some rows of the first axis. The parameters
of a block are gathered while it is computed (FSDP2 of torch). So all processes compute together, also contact sheets
and validation.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from unnoise.errors import InputError, InputWarning
from unnoise.nets import text
from unnoise.train.gradient_checkpointing import BLOCKS
from unnoise.train.processes import World
from unnoise.train.sharded_checkpoint import is_split, whole
from unnoise.train.task import Task
from unnoise.train.validation import Monitor, Total, Validation, alone

OWN = (*BLOCKS, text.TextLayer)
# What torch says of outputs that could be changed in place. Those of our blocks are not.
VIEWS = rf"FSDP2-wrapped module \((FSDP({'|'.join(one.__name__ for one in OWN)})(, )?)+\) returned a view"
LARGE = 1_000_000_000  # parameters, from which on a split network is worth its messages


def split_task(task: Task, monitor: Monitor, world: World) -> tuple[Task, Monitor]:
    """Split the networks of a task among processes; the task and the monitor returned compute with them.

    Warns of a single process, which has nothing to split, and of small networks.

    Raises:
        InputError: a parameter has no axis to split.
    """
    if world.size == 1:
        warnings.warn("fit.shard true: one process, which holds the networks whole", InputWarning, stacklevel=3)
        return task, monitor
    count = sum(parameter.numel() for parameter in task.networks.parameters())
    if count < LARGE and world.rank == 0:
        warnings.warn(
            f"fit.shard true: {count:,} parameters; below about {LARGE:,} shard = false is faster, and fits into the "
            f"memory of a process",
            InputWarning,
            stacklevel=3,
        )
    warnings.filterwarnings("ignore", VIEWS)
    split = SplitTask(task)
    return cast(Task, split), split.monitored(monitor)


class SplitTask:
    """A task whose networks are split among processes, which compute its loss and its sheets together; all else is that
    of the task."""

    def __init__(self, task: Task) -> None:
        self._task, self._root = task, _Root(task.networks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        losses: Tensor = self._root(lambda: self._task.loss(step, rows))
        return losses

    def sheet(self, step: int) -> Image.Image | None:
        """Draw the contact sheet of the task; every process draws it."""
        with torch.no_grad():
            sheet: Image.Image | None = self._root(lambda: self._task.sheet(step))
        return sheet

    def monitored(self, monitor: Monitor) -> Monitor:
        """Return a monitor whose held-out rows every process computes, all of them."""
        own = monitor.validation
        if own is None:
            return monitor
        loss = own.loss
        return replace(monitor, validation=_Together(lambda rows: self._root(lambda: loss(rows)), own.rows, own.block))

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Keep the gradients of the block in this process, whole, to be added to those of a later pass."""
        self._root.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self._root.set_requires_gradient_sync(True)


class _Root(nn.Module):
    """Networks that are split, and a forward that does any work with them: outside of it, they cannot compute."""

    set_requires_gradient_sync: Callable[[bool], None]  # which fully_shard adds

    def __init__(self, networks: nn.Module) -> None:
        from torch.distributed.fsdp import fully_shard  # slow

        super().__init__()
        self.networks = networks
        scalar = next((name for name, parameter in networks.named_parameters() if parameter.ndim == 0), None)
        if scalar is not None:
            raise InputError(f"fit.shard true: parameter {scalar} is a scalar, which has no rows; give it an axis")
        for parameter in networks.parameters():
            parameter.data = parameter.data.contiguous()
        for tensor in networks.state_dict().values():
            dist.broadcast(tensor, 0)
        mesh = init_device_mesh(next(networks.parameters()).device.type, (dist.get_world_size(),))
        for block in _blocks(networks):
            fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


def _blocks(networks: nn.Module) -> list[nn.Module]:
    """Return the repeated blocks of networks, ours, and those of diffusers, which lists the names of their classes.

    A block within another comes first, as the outer one takes what is left.
    """
    names = {name for net in networks.modules() for name in getattr(net, "_no_split_modules", None) or ()}
    every = reversed([*networks.modules()])
    return [module for module in every if isinstance(module, OWN) or type(module).__name__ in names]


@dataclass(frozen=True, slots=True)
class _Together(Validation):
    """Held-out rows that every process computes, as a network is computed by all processes together."""

    def losses(self, rank: int = 0, ranks: int = 1, total: Total = alone) -> Tensor:
        """Return the loss of every row, see `Validation`."""
        return Validation.losses(self)


@contextmanager
def whole_networks(networks: nn.Module, world: World) -> Iterator[None]:
    """Give process 0 the parameters whole, in the memory of its CPU, within the context: to be read, not to compute.

    They are gathered one by one, and no other process keeps them. Networks that are not split stay as they are.
    """
    split = [
        (module, name, parameter)
        for module in networks.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and is_split(parameter)
    ]
    for module, name, parameter in split:
        gathered = whole(parameter).detach()
        if world.rank == 0:
            module._parameters[name] = nn.Parameter(gathered.cpu(), requires_grad=False)
    try:
        yield
    finally:
        for module, name, parameter in split:
            module._parameters[name] = parameter
