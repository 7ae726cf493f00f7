"""Webdataset tars: members that share a name up to the first dot are one sample, `0001.png` with `0001.txt`."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from unnoise.data.dataset import ImageDataset
from unnoise.data.folder import CAPTION_FIELDS, ENDINGS, Item, checked
from unnoise.errors import InputError

LONGEST = 65_536  # bytes of a caption file


def open_tars(path: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a .tar file or a folder of them, at size x size pixels.

    A sample's caption is its `.txt`, or `text` or `caption` of its `.json`. Nothing is unpacked: pictures are read in
    place. Raises InputError where a tar is unreadable or a caption is missing; `strict` as in `open_folder`.
    """
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    items = [item for tar in tars for item in _samples(tar)]
    return checked(str(path), items, size, strict)


def _samples(tar: Path) -> Iterator[Item]:
    """List the samples of a tar in its order."""
    pictures: dict[str, tarfile.TarInfo] = {}
    captions: dict[str, str] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key = f"{folder}/{stem}"
                if not member.isfile():
                    continue
                if f".{ending.lower()}" in ENDINGS:
                    pictures[key] = member
                elif ending in ("txt", "json"):
                    captions[key] = _caption(archive, member)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"data.source {str(tar)!r}: cannot be read: {error}") from error
    for key, member in pictures.items():
        if not captions.get(key):
            fields = " or ".join(CAPTION_FIELDS)
            raise InputError(f"{tar}: {member.name!r} has no caption: a .txt, or a .json with {fields}")
        yield Item(f"{tar.name}:{member.name}", captions[key], _opener(tar, member))


def _caption(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    text = file.read(LONGEST).decode("utf-8", "replace").strip() if file else ""
    if not member.name.endswith(".json"):
        return text
    try:
        row = json.loads(text)
    except ValueError:
        return ""
    return next((str(row[field]) for field in CAPTION_FIELDS if isinstance(row, dict) and row.get(field)), "")


def _opener(tar: Path, member: tarfile.TarInfo) -> Callable[[], BinaryIO]:
    def read() -> BinaryIO:
        with tar.open("rb") as file:
            file.seek(member.offset_data)
            return io.BytesIO(file.read(member.size))

    return read
