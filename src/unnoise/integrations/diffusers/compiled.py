"""Compile the repeated blocks of a network, which takes seconds where the whole network takes minutes."""

import shutil
from typing import Any

from torch import nn

from unnoise.errors import InputError

COMPILERS = ("g++", "clang++", "cl")  # one of them is needed on a CPU


def compile_blocks(net: nn.Module, **options: Any) -> None:
    """Compile the blocks of a network at their first call.

    Args:
        net: a network of diffusers.
        options: of torch.compile.

    Raises:
        InputError: no C++ compiler is installed, which a CPU needs.
    """
    on_cpu = next(net.parameters()).device.type == "cpu"
    if on_cpu and "backend" not in options and not any(shutil.which(name) for name in COMPILERS):
        raise InputError(f"compile: needs one of {', '.join(COMPILERS)} on a CPU; install one, or leave compile out")
    classes = repeated(net)
    for module in net.modules():
        if type(module).__name__ in classes:
            module.compile(**options)


def repeated(net: nn.Module) -> frozenset[str]:
    """Return the classes of the repeated blocks: as diffusers names them, else the items of the network's own lists."""
    named = getattr(net, "_repeated_blocks", None)
    lists = [child for child in net.children() if isinstance(child, nn.ModuleList)]
    return frozenset(named or (type(block).__name__ for blocks in lists for block in blocks))
