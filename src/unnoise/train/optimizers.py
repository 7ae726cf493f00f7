"""The optimizers of a task: AdamW for all parameters, or Muon for hidden weights and AdamW for the rest."""

from collections.abc import Sequence

import torch
from torch import nn

from unnoise.train.fit_options import FitOptions
from unnoise.train.muon import Muon, hidden_weights
from unnoise.train.task import Task

Optimizers = Sequence[torch.optim.Optimizer]


def make_optimizers(task: Task, fit: FitOptions) -> Optimizers:
    """Make AdamW for all parameters, or Muon for hidden weights and AdamW for the rest, or the task's own optimizer.

    A task has its own where it has a function `own_optimizer` from parameters to an optimizer.
    """
    own = getattr(task, "own_optimizer", None)
    if own is not None:
        return [own([parameter for parameter in task.networks.parameters() if parameter.requires_grad])]
    hidden = hidden_weights(task.networks) if fit.optimizer == "muon" else frozenset()
    groups: dict[bool, dict[float, list[nn.Parameter]]] = {False: {}, True: {}}
    for name, parameter in task.networks.named_parameters():
        multiple = task.learning_rate_multiples.get(name, 1.0)
        groups[name in hidden].setdefault(multiple, []).append(parameter)
    others, matrices = (
        [{"params": part, "multiple": multiple} for multiple, part in found.items()] for found in groups.values()
    )
    adam = torch.optim.AdamW(others, fit.learning_rate, betas=fit.betas, weight_decay=fit.weight_decay, fused=True)
    muon = [Muon(matrices, fit.learning_rate, narrow=fit.precision != "float32")] if matrices else []
    return [adam, *muon]


def set_learning_rate(optimizers: Optimizers, learning_rate: float) -> None:
    """Set the learning rate of every group, times its multiple."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("multiple", 1.0)
