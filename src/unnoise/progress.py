"""A progress bar for what takes more than a second, in terminals and notebooks; elsewhere nothing is shown."""

import sys
from time import perf_counter
from typing import Any

PATIENCE = 1.0  # seconds of expected work below which no bar is shown


class ProgressBar:
    """Show a bar once the whole work is expected to take more than PATIENCE seconds.

    Args:
        title: shown before the bar.
        enabled: show nothing otherwise.
    """

    def __init__(self, title: str, enabled: bool = True) -> None:
        self.title, self.enabled = title, enabled and (sys.stderr.isatty() or _in_notebook())
        self._bar: Any = None
        self._began = perf_counter()

    def __enter__(self) -> "ProgressBar":
        return self

    def __call__(self, share: float, x0: object = None) -> None:
        """Move the bar to a share of the work, 0 to 1."""
        if self._bar is None and self.enabled and perf_counter() - self._began > PATIENCE * share:
            self._bar = _bar(self.title)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=share)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _bar(title: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True) if not _in_notebook() else Console(force_jupyter=True)
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task(title, total=1.0)
    bar.start()
    return bar
