"""Import torch so that Ctrl-C does not abort the process: torch dies of an interrupt within its own start."""

import signal
from threading import current_thread, main_thread


def import_torch() -> None:
    """Import torch, about 2 s, with Ctrl-C held back until it is there. Raises KeyboardInterrupt then."""
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        import torch

        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        import torch  # noqa: F401
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt
