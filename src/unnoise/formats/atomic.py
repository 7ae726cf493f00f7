"""Write files atomically: an interruption leaves the old file or the new one."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unnoise.errors import InputError, OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # a write failed on the way: no other name would help


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`; sync and rename it on success, remove it on an error. The mode is kept.

    Raises InputError if the folder or the file cannot be written, OutputError if the disk is full.
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
    """Raise InputError unless a file can be created at `path`, also in a folder that does not exist yet."""
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
    """Turn an OSError into an InputError that names the file, or an OutputError where the disk is full."""
    try:
        yield
    except OSError as error:
        kind = OutputError if error.errno in FULL else InputError
        raise kind(f"cannot write {str(target)!r}: {error.strerror or error}") from error


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
