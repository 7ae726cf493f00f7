"""Stop a training by SIGINT (Ctrl-C) or SIGTERM: the step ends and a checkpoint is written. A second signal kills."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from time import monotonic
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOGETHER = 0.2  # seconds within which two signals are one: `timeout` sends one to the process and to its group


class TrainingStopped(KeyboardInterrupt):
    """A training that a signal stopped. number: of the signal; advice: how to go on."""

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}{advice and f'; {advice}'}")
        self.number = number


class PeerFailed(RuntimeError):
    """Another process of the training failed first. It says why, unless it is gone: then there is a message here."""


class Stop:
    """The first signal, which is raised at once, or kept while steps run."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._came = 0.0
        self._keeps = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; the second ends the process, unless it is the first sent to process and group both."""
        if self.number is None:
            self.number, self._came = number, monotonic()
            if not self._keeps:
                self.check()
        elif monotonic() - self._came > TOGETHER:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def check(self) -> None:
        """Raise TrainingStopped if a signal came."""
        if self.number is not None:
            raise TrainingStopped(self.number)

    @contextmanager
    def kept(self, keeps: bool = True) -> Iterator[None]:
        """Keep a signal that comes within the block; with `keeps` False, raise it, also one that came before."""
        before, self._keeps = self._keeps, keeps
        try:
            if not keeps:
                self.check()
            yield
        finally:
            self._keeps = before


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Handle the signals within the block, in the main thread; in another thread they are left alone."""
    stop = Stop()
    if current_thread() is not main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
