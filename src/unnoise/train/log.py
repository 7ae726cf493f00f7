"""The log of a run: one JSON object a step, in a file that a killed run leaves readable."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.formats.atomic import refusing_writes, replacing
from unnoise.formats.json_text import json_object
from unnoise.formats.open_file import read_text
from unnoise.train.task import Progress

LOG = "log.jsonl"  # in the folder of a task
LOG_BYTES = 1 << 30  # of a log that is read


@contextmanager
def step_log(path: Path, first: int) -> Iterator[Callable[[Progress], None]]:
    """Open a log of one JSON object a step, and drop the lines of steps that will be repeated."""
    lines = [line for line, parsed in _parsed(path) if parsed["step"] <= first]
    with replacing(path) as whole:
        whole.write("".join(lines).encode())
    with path.open("ab", buffering=0) as file:

        def write(progress: Progress) -> None:
            line = f"{json.dumps(_rounded(progress))}\n".encode()
            with refusing_writes(path):
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, "no space left on the device")

        yield write


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; a half line of a killed run is left out. Raises InputError for another file."""
    return [parsed for _, parsed in _parsed(path)]


def _parsed(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """List each complete line with what it holds."""
    for number, line in enumerate(_lines(path), 1):
        try:
            yield line, json_object(line)
        except ValueError as error:
            raise InputError(f"{path}:{number}: is no line of a log ({error})") from None


def _lines(path: Path) -> list[str]:
    """Read the complete lines; the last is incomplete where the run was killed."""
    return (
        [line for line in read_text(path, LOG_BYTES).splitlines(True) if line.endswith("\n")] if path.exists() else []
    )


def _rounded(progress: Progress) -> dict[str, Any]:
    """Return what is known, numbers to nine digits, which tell those of float32 apart."""
    return {name: _short(value) for name, value in asdict(progress).items() if value not in (None, (), {})}


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_short(item) for item in value]
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value
