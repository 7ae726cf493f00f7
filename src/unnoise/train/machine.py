"""How a step is computed on this machine: dtype, compilation, memory layout and rows of a pass.

The fields of `FitOptions` that are "auto" are settled here, so that the loop only meets values.
"""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from unnoise.devices import autocast
from unnoise.train.fit_options import FitOptions, check_compiler
from unnoise.train.task import Task

UNMEASURED = {"precision": "float32", "compile": False, "channels_last": True}  # what "auto" is in a short run


def settled(fit: FitOptions) -> FitOptions:
    """Return the options with a value for every field that is "auto"."""
    open_ = {name: value for name, value in UNMEASURED.items() if getattr(fit, name) == "auto"}
    open_ |= {"channels_last": False} if fit.shard else {}
    return replace(fit, **open_)  # type: ignore[arg-type]


def prepared(task: Task, fit: FitOptions) -> Task:
    """Return a task that computes as settled options say. Raises InputError where compilation needs a compiler."""
    check_compiler(fit)
    lay_out(task.networks, fit.channels_last is True)
    first = next(iter(task.networks.values()))
    if fit.compile and first._compiled_call_impl is None:
        first.compile()
    return cast(Task, _Narrow(task)) if fit.precision == "bfloat16" else task


def lay_out(net: nn.Module, channels_last: bool) -> None:
    """Change the memory layout of the weights of two-dimensional convolutions."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


class _Narrow:
    """A task whose loss is computed in bfloat16, where the device has it; all else is that of the task."""

    def __init__(self, task: Task) -> None:
        self._task, self._device = task, next(task.networks.parameters()).device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        with autocast(self._device, True):
            return self._task.loss(step, rows)
