"""Run compiled networks uncompiled for as long as hooks change their layers.

torch.compile does not check hooks: code that was compiled before a hook was registered runs without it, and code that
was compiled with one runs with it after it was removed.   Source: torch, _dynamo/config.py, skip_nnmodule_hook_guards.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch


class _Stance:
    """Force all compiled code of the process to run eagerly while at least one block needs it, in any thread."""

    def __init__(self) -> None:
        self._users, self._lock = 0, Lock()

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._forced = torch.compiler.set_stance("force_eager")

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._forced.__exit__(None, None, None)


_STANCE = _Stance()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run every compiled network eagerly within the block."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes a second
        yield
        return
    _STANCE.enter()
    try:
        yield
    finally:
        _STANCE.leave()
