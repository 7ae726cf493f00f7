"""WebDataset tars: members with the same name up to the first dot are one sample, `0001.png` with `0001.txt`."""

import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from unnoise.data.captions import FIELDS, LONGEST, caption_in, decoded, json_object
from unnoise.data.dataset import ImageDataset
from unnoise.data.readable import Item, Skips, readable_dataset
from unnoise.errors import InputError
from unnoise.formats import pictures
from unnoise.formats.open_file import open_file

CAPTIONS = ("txt", "json")
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


def open_tars(path: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a .tar file or a folder of .tar files. Images are read in place; nothing is unpacked.

    The caption of a sample is its `.txt`, or `text` or `caption` of its `.json`. size, strict: as for `open_folder`.

    Raises:
        InputError: a tar is unreadable, a caption is missing, or (strict) an image is left out.
    """
    tars, skips = [path] if path.is_file() else sorted(path.glob("*.tar")), Skips(strict)
    items = [item for tar in tars for item in _samples(tar, skips)]
    return readable_dataset(str(path), items, size, skips)


def _samples(tar: Path, skips: Skips) -> Iterator[Item]:
    """List the samples of a tar in file order."""
    images: dict[str, tarfile.TarInfo] = {}
    captions: dict[str, str] = {}
    where = f"data.source {str(tar)!r}"
    with (
        pictures.one_line(where),
        open_file(tar) as file,
        tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedInfo) as archive,
    ):
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            key = f"{folder}/{stem}"
            if reason := _reason(member, name, key in images):
                skips.add(f"{tar.name}:{member.name}"[:200], reason)
            elif member.isreg() and f".{ending.lower()}" in pictures.ENDINGS:
                images[key] = member
            elif member.isreg() and ending in CAPTIONS:
                captions[key] = _caption(_read(tar, member, LONGEST), f"{tar}: {member.name[:200]!r}")
        file.seek(archive.offset)
        if any(file.read(tarfile.BLOCKSIZE)):  # which tarfile takes for the end
            raise InputError(f"{where}: the header at byte {archive.offset} is broken")
    for key, member in images.items():
        shown = member.name[:200]
        if not captions.get(key):
            raise InputError(f"{tar}: {shown!r} has no caption: add a .txt, or a .json with {' or '.join(FIELDS)}")
        yield Item(f"{tar.name}:{shown}", captions[key], partial(_read, tar, member, pictures.BYTES))


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


def _caption(raw: bytes, where: str) -> str:
    text = decoded(raw, where).strip()
    return caption_in(json_object(text, where), where) if where.endswith(".json'") else text


def _read(tar: Path, member: tarfile.TarInfo, most: int) -> bytes:
    """Read a member in place. Raises InputError where it is longer than `most` bytes or than the tar."""
    if not 0 <= member.size <= most or member.issparse():
        raise InputError(f"{tar.name}:{member.name[:200]}: {member.size} bytes, at most {most} are read, and no gaps")
    with open_file(tar) as file:
        file.seek(member.offset_data)
        return file.read(member.size)
