"""A pass of a step: the mean loss of some rows of its batch, computed by one module."""

import torch
from torch import Tensor, nn

from unnoise.train.task import Task


class TaskLoss(nn.Module):
    """A task as one module, whose forward is the mean loss of some rows: what wraps it meets every call of a network.

    torch's own random numbers, which a network may draw, depend on the step and the first of the rows alone.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.networks, self.task = task.networks, task
        device = next(task.networks.parameters()).device
        # on a CPU, torch.manual_seed takes 0.3 ms: it asks for every other kind of device
        self.seed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed

    def forward(self, step: int, rows: range) -> Tensor:
        self.seed(step << 24 | rows.start)
        return self.task.loss(step, rows).mean()
