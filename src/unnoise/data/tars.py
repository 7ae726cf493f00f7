"""WebDataset tars: members with the same name up to the first dot are one sample, `0001.png` with `0001.txt`."""

import os
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

from unnoise.data.captions import LONGEST, decoded, json_object
from unnoise.data.columns import ImageRow, first_folder
from unnoise.data.readable import Skips
from unnoise.errors import InputError
from unnoise.formats import pictures
from unnoise.formats.open_file import open_file

JSON = "json"
COLUMNS = ("txt", "cls", JSON)  # endings of members that describe an image
EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
EXTENDED = (
    8192  # bytes of a header before a header, which tarfile reads whole and, before Python 3.11.10, quadratically
)


class BoundedInfo(tarfile.TarInfo):
    """A header of a tar; a longer one before it is refused unread."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.size > EXTENDED and self.type in EXTENSIONS):
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def tar_rows(path: Path, skips: Skips) -> list[ImageRow]:
    """List the images of a .tar file or of a folder of .tar files. They are read in place; nothing is unpacked.

    Columns of a sample are its `.txt` and `.cls`, the fields of its `.json`, and the first folder of its name.

    Raises:
        InputError: a tar is unreadable, a text is not UTF-8, or (strict) an image is left out.
    """
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    return [row for tar in tars for row in _samples(tar, skips)]


def _samples(tar: Path, skips: Skips) -> Iterator[ImageRow]:
    """List the samples of a tar in file order."""
    images: dict[str, tarfile.TarInfo] = {}
    columns: dict[str, dict[str, Any]] = defaultdict(dict)
    where = f"data.source {str(tar)!r}"
    with (
        pictures.one_line(where),
        open_file(tar) as file,
        tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedInfo) as archive,
    ):
        stamp = _stamp(file)
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            key = f"{folder}/{stem}"
            if reason := _reason(member, name, key in images):
                skips.add(f"{tar.name}:{member.name}"[:200], reason)
            elif member.isreg() and f".{ending.lower()}" in pictures.ENDINGS:
                images[key] = member
            elif member.isreg() and ending in COLUMNS:
                columns[key] |= _columns(_read(tar, stamp, member, LONGEST), ending, f"{tar}: {member.name[:200]!r}")
        file.seek(archive.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # which tarfile takes for the end
            raise InputError(f"{where}: the header at byte {archive.offset} is broken")
    for key, member in images.items():
        name = f"{tar.name}:{member.name[:200]}"
        read = partial(_read, tar, stamp, member, pictures.BYTES)
        yield ImageRow(name, first_folder(member.name) | columns[key], read, f"{tar}: {member.name[:200]!r}")


def _stamp(file: BufferedReader) -> tuple[int, int]:
    """Return what changes with the content of a file: its size, and when it was written."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _reason(member: tarfile.TarInfo, name: str, twice: bool) -> str:
    """Say why a member with the ending of an image is left out; empty for what is used, or has another ending."""
    ending = "." + name.rpartition(".")[2].lower()
    if ending in pictures.OTHERS:
        return f"of the format {ending}"
    if ending not in pictures.ENDINGS:
        return ""
    if name.startswith(".") or "/." in f"/{member.name}".replace("/./", "/"):
        return "hidden"
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if name.count(".") > 1:
        return "with a second dot in the name"
    return "second of its sample" if twice else ""


def _columns(raw: bytes, ending: str, where: str) -> dict[str, Any]:
    """Return the columns of a member that is no image; what a .txt and a .cls hold is not overwritten by a .json."""
    text = decoded(raw, where).strip()
    return json_object(text, where) if ending == JSON else {ending: text}


def _read(tar: Path, stamp: tuple[int, int], member: tarfile.TarInfo, most: int) -> bytes:
    """Read a member in place.

    Raises:
        InputError: it is longer than `most` bytes or than the tar, or the tar has changed since it was listed.
    """
    if not 0 <= member.size <= most or member.issparse():
        raise InputError(f"{tar.name}:{member.name[:200]}: {member.size} bytes, at most {most} are read, and no gaps")
    with open_file(tar) as file:
        file.seek(member.offset_data)
        content = file.read(member.size)
        if _stamp(file) != stamp:
            raise InputError(f"{tar}: has changed since it was opened; leave it as it is while it is used")
    return content
