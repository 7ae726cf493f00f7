"""The lock of a run's folder: one training at a time, and the mark by which a restarted process knows its own run."""

import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from unnoise.errors import InputError, InputWarning
from unnoise.formats.atomic import refusing_writes
from unnoise.formats.open_file import read_text
from unnoise.train.processes import restarted

LOCK = "run.lock"  # the process that trains in the folder, and the one that started it


@contextmanager
def locked(folder: Path) -> Iterator[TextIO]:
    """Hold a lock that ends with the process. Raises InputError with the process that holds it."""
    path = folder / LOCK
    with refusing_writes(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().split() or ["unknown"]
            raise InputError(
                f"--out {str(folder)!r}: process {holder[0]} is training there; wait until it ends, stop it, or use "
                f"another folder"
            ) from None
        except OSError as error:
            warnings.warn(
                f"{path}: {error.strerror}: a second training here is not noticed", InputWarning, stacklevel=5
            )
        yield file


def sign(file: TextIO) -> None:
    """Write into the lock which process trains, and which started it."""
    with refusing_writes(Path(file.name)):
        file.truncate(0)
        file.write(f"{os.getpid()} {_starter()}")
        file.flush()


def resumes(folder: Path, resume: bool) -> bool:
    """Return whether a run is continued: where it is asked for, or where torchrun restarts what trained here."""
    if resume or not restarted() or not (folder / LOCK).exists():
        return resume
    return read_text(folder / LOCK).split()[1:] == [_starter()]


def _starter() -> str:
    """Return the process that started this one, and when that began, as numbers of processes are used again."""
    parent = os.getppid()
    try:
        began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        began = "unknown"
    return f"{parent}-{began}"
