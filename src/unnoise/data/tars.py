"""WebDataset tars: members with the same name up to the first dot are one sample, `0001.png` with `0001.txt`."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from unnoise.data.dataset import ImageDataset
from unnoise.data.folder import CAPTION_FIELDS, ENDINGS, Item, readable_dataset
from unnoise.errors import InputError

LONGEST = 65_536  # bytes of a caption file


def open_tars(path: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a .tar file or a folder of .tar files. Images are read in place; nothing is unpacked.

    The caption of a sample is its `.txt`, or `text` or `caption` of its `.json`. size, strict: as for `open_folder`.

    Raises:
        InputError: a tar is unreadable, a caption is missing, or (strict) an image is unreadable.
    """
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    items = [item for tar in tars for item in _samples(tar)]
    return readable_dataset(str(path), items, size, strict)


def _samples(tar: Path) -> Iterator[Item]:
    """List the samples of a tar in file order."""
    images: dict[str, tarfile.TarInfo] = {}
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
                    images[key] = member
                elif ending in ("txt", "json"):
                    captions[key] = _caption(archive, member)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"data.source {str(tar)!r}: cannot be read: {error}") from error
    for key, member in images.items():
        if not captions.get(key):
            fields = " or ".join(CAPTION_FIELDS)
            raise InputError(f"{tar}: {member.name!r} has no caption: add a .txt, or a .json with {fields}")
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
