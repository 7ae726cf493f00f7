"""Write files atomically: an interruption leaves the old file or the new one."""

import errno
import glob
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

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
            with part.open("xb") as file, _held(part):
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


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder next to `path`; rename it to `path` on success, remove it on an error.

    Folders that an interrupted process left there are removed first.

    Raises InputError if the folder cannot be written, or if `path` is there and not empty.
    """
    target = Path(path)
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    sweep(target)
    try:
        with refusing_writes(target):
            part.mkdir(parents=True)
            with _held(part):
                yield part
                _sync_folder(part)
                part.replace(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def sweep(target: Path) -> None:
    """Remove what interrupted processes left next to a file or folder; what a running one writes is locked."""
    with suppress(OSError):
        for part in target.parent.glob(f".{glob.escape(target.name[:100])}.{'[0-9a-f]' * 8}.part"):
            with suppress(OSError), _held(part):
                shutil.rmtree(part) if part.is_dir() else part.unlink()


@contextmanager
def _held(part: Path) -> Iterator[None]:
    """Lock a file or folder. Raises OSError where another process has it."""
    handle = os.open(part, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


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
