"""Write a file so that an interruption leaves the old one or the new one, never a half."""

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unnoise.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success sync it and give it the name and the mode, otherwise remove it.

    Raises InputError where the folder or the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with refusing_writes(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                part.chmod(stat.S_IMODE(target.stat().st_mode))
            part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    _sync_folder(target.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless a file can be made at `path`, a name in a folder that exists or can be made."""
    target = Path(path)
    with refusing_writes(target):
        if _exists(target) and target.is_dir():
            raise InputError(f"cannot write {str(target)!r}: it is a folder")
        folder = target.parent
        while not _exists(folder) and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextmanager
def refusing_writes(target: Path) -> Iterator[None]:
    """Turn a fault of the system into a InputError that names the file."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {str(target)!r}: {error.strerror or error}") from error


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
