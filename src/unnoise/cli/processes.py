"""A command in the processes of torchrun: one of them prints."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes of torchrun for the block, if it started this one. Only process 0 prints.

    Raises:
        PeerFailed: another process failed first, and its error is the one that is printed.
    """
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.train.processes import started

    with started() as world, ExitStack() as silent:
        if world.rank:
            nowhere = silent.enter_context(open(os.devnull, "w", encoding="utf-8"))
            silent.enter_context(redirect_stdout(nowhere))
            silent.enter_context(redirect_stderr(nowhere))
        yield
