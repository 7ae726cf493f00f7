"""Gradient checkpointing: recompute the activations of each block in the backward pass, which takes less memory.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from unnoise.nets import dit, unet

BLOCKS = (unet.UNetStage, dit.Layer)  # of our own networks


@contextmanager
def gradient_checkpointing(net: nn.Module, enabled: bool) -> Iterator[None]:
    """Checkpoint each block of a network within the context."""
    with ExitStack() as undo:
        for module in net.modules() if enabled else ():
            if isinstance(module, BLOCKS):
                undo.callback(_checkpoint(module))
            elif hasattr(module, "enable_gradient_checkpointing"):
                foreign: Any = module
                foreign.enable_gradient_checkpointing()
                undo.callback(foreign.disable_gradient_checkpointing)
        yield


def _checkpoint(module: nn.Module) -> Callable[[], None]:
    """Checkpoint one block; return the function that undoes it."""
    module.forward = partial(checkpoint, module.forward, use_reentrant=False)

    def undo() -> None:
        del module.forward

    return undo
