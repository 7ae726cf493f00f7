"""Trade time for memory: activations of a block are computed again on the way back, in place of being kept.

Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from unnoise.nets import dit, unet
from unnoise.pipeline import Pipeline

BLOCKS = (unet.UNetStage, dit.Layer)  # of the networks that are made here


@contextmanager
def checkpointed(pipeline: Pipeline, wanted: bool) -> Iterator[None]:
    """Keep only what goes into each block of the denoiser, for as long as the block lasts; nothing unless wanted."""
    with ExitStack() as undo:
        for module in pipeline.denoiser.net.modules() if wanted else ():
            if isinstance(module, BLOCKS):
                undo.callback(_wrap(module))
            elif hasattr(module, "enable_gradient_checkpointing"):
                other: Any = module
                other.enable_gradient_checkpointing()
                undo.callback(other.disable_gradient_checkpointing)
        yield


def _wrap(module: nn.Module) -> Any:
    """Checkpoint one block, and give what undoes it."""
    module.forward = partial(checkpoint, module.forward, use_reentrant=False)

    def undo() -> None:
        del module.forward

    return undo
