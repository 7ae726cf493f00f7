"""Say on a terminal what takes its time; where stderr is no terminal, say nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

PATIENCE = 1.0  # seconds that may pass without a bar


@contextmanager
def saying(what: str) -> Iterator[None]:
    """Show one line while something is done, and take it away."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"\r{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Bar:
    """Show a bar once the whole is expected to take more than PATIENCE; call it with the share done, 0 ... 1."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.bar: Any = None
        self.began = perf_counter()

    def __enter__(self) -> "Bar":
        return self

    def __call__(self, share: float, x0: object = None) -> None:
        """Move the bar to `share` of the work."""
        if self.bar is None and sys.stderr.isatty() and (perf_counter() - self.began) > PATIENCE * share:
            self.bar = _bar(self.what)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=share)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def _bar(what: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(what, total=1.0)
    bar.start()
    return bar
