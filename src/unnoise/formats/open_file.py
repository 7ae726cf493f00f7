"""Open files of unknown origin: regular files only, in the folder where they belong, with a limit on what is read.

A FIFO would wait for ever, /dev/zero never ends, and the size that a file states need not be what it holds.
"""

import os
import stat
from io import BufferedReader
from pathlib import Path

from unnoise.errors import InputError, quoted

PathLike = str | os.PathLike[str]
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
TEXT = 16 << 20  # bytes of a text


def open_file(path: PathLike, root: PathLike | None = None) -> BufferedReader:
    """Open a regular file to read its bytes, unbuffered reads included.

    Args:
        path: the file.
        root: the folder that it must lie in, links followed; None where a person named the file itself.

    Raises:
        InputError: it is missing, is no regular file, lies outside the folder, or cannot be read.
    """
    try:
        place = Path(path) if root is None else inside(path, root)
        _check(path, os.stat(place))  # a device must not even be opened
        file = open(place, "rb", opener=lambda name, _: os.open(name, FLAGS))  # noqa: SIM115
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        _check(path, os.fstat(file.fileno()))  # what was opened may be another file than what was looked up
    except InputError:
        file.close()
        raise
    return file


def read_bytes(path: PathLike, most: int, root: PathLike | None = None) -> bytes:
    """Read a whole file. Raises InputError as `open_file` does, and for more than `most` bytes."""
    with open_file(path, root) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if content is None or len(content) > most:
        raise InputError(f"{path}: larger than {most} bytes, the most that such a file may have")
    return content


def read_text(path: PathLike, most: int = TEXT, root: PathLike | None = None) -> str:
    """Read a text in UTF-8, with or without a byte order mark. Raises InputError as `read_bytes` does."""
    try:
        return read_bytes(path, most, root).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is 0x{error.object[error.start]:02x}"
        raise InputError(f"{path}: not a text in UTF-8: {byte}; write it as UTF-8") from None


def inside(path: PathLike, root: PathLike) -> Path:
    """Return a path with its links followed. Raises InputError where it leaves a folder.

    The files of a snapshot in the cache of Hugging Face are links into the folder `blobs` of the same repository.
    """
    found, folder = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    snapshots = (one.parent for one in (folder, *folder.parents) if one.parent.name == "snapshots")
    roots = [folder, *(one.parent / "blobs" for one in snapshots)]
    if not any(found.is_relative_to(one) for one in roots):
        raise InputError(f"{path}: is {quoted(str(found))}, outside the folder {root}; copy the file into it")
    return found


def is_file(path: PathLike) -> bool:
    """Return whether a path is a regular file, links followed; False for what cannot be looked up."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _check(path: PathLike, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")
