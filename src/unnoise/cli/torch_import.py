"""Import torch so that Ctrl-C does not abort the process, which torch does within its own start, and at less cost."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread


def import_torch() -> None:
    """Import torch, about 2 s, with Ctrl-C held back until it is there. Raises KeyboardInterrupt then."""
    if "torch" in sys.modules:
        return
    with _interrupts_held_back(), _uncollected():
        import torch  # noqa: F401


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Raise KeyboardInterrupt of the block at its end. Without effect where Ctrl-C is not Python's to handle."""
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage in the block, and exempt what it leaves from every later collection.

    Modules stay to the end of the process. To search them for garbage took a tenth of the import, and a quarter of it
    again when the process ended.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
