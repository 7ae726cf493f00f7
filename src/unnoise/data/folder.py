"""A folder of images: columns from its metadata, or a caption in a `.txt` file beside an image."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from unnoise.data.captions import LONGEST, decoded
from unnoise.data.columns import CAPTIONS, TEXT_FILE, ImageRow, first_folder
from unnoise.data.metadata import metadata_files, metadata_rows
from unnoise.data.readable import UNREADABLE, Skips
from unnoise.errors import InputError
from unnoise.formats import pictures

TEXT = ".txt"
HIDDEN, LINK = "hidden", "linked from outside the folder"


def folder_rows(folder: Path, skips: Skips) -> list[ImageRow]:
    """List the images of a folder and of the folders in it.

    Columns are those of a `metadata.jsonl`, `.csv` or `.parquet` with a `file_name` in each row, the text of NAME.txt
    beside NAME.png, and the first folder of an image. An image is a file that metadata lists; without metadata, one
    with the ending of an image, or with a .txt beside it, in a format that is read. Others are left out and counted, as
    are hidden files and links out of the folder.

    Raises:
        InputError: a text is not UTF-8, a row is broken, or (strict) an image is left out.
    """
    folder = Path(os.path.normpath(folder))
    paths = sorted(folder.rglob("*"))
    metadata = metadata_files(paths, folder)
    return list(_metadata_rows(folder, metadata, paths, skips) if metadata else _text_file_rows(folder, paths, skips))


def _metadata_rows(folder: Path, metadata: Sequence[Path], paths: Sequence[Path], skips: Skips) -> Iterator[ImageRow]:
    listed = set()
    for file in metadata:
        if _leaves(file, folder):
            raise InputError(f"{file}: a link out of the folder; put the file itself there")
        for where, given, columns in metadata_rows(file):
            path = Path(os.path.normpath(file.parent / given))
            if not path.is_relative_to(folder):
                raise InputError(f"{where}: file_name {given[:60]!r} lies outside the folder")
            name = path.relative_to(folder).as_posix()
            listed.add(path)
            if _leaves(path, folder):
                skips.add(name, LINK)
                continue
            read = partial(pictures.contents, path, f"image {name!r}")
            texts = {} if any(columns.get(one) is not None for one in CAPTIONS) else _text_file(path, folder)
            yield ImageRow(name, first_folder(name) | texts | columns, read, where)
    for path in paths:
        if path.suffix.lower() in pictures.ENDINGS and path not in listed:
            skips.add(path.relative_to(folder).as_posix(), f"not in {metadata[0].name}")


def _text_file_rows(folder: Path, paths: Sequence[Path], skips: Skips) -> Iterator[ImageRow]:
    stems = {path.with_suffix("") for path in paths if path.suffix.lower() in pictures.ENDINGS}
    captioned = {path.with_suffix("") for path in paths if path.suffix == TEXT} - stems
    for path in paths:
        ending = path.suffix.lower()
        is_linked = path.is_symlink() and path.is_dir()
        beside = path.with_suffix("") in captioned and ending != TEXT and not path.is_dir()
        if ending not in pictures.ENDINGS and ending not in pictures.OTHERS and not beside and not is_linked:
            continue
        name = path.relative_to(folder).as_posix()
        reason = _reason(path, folder) or (LINK if _leaves(path.with_suffix(TEXT), folder) else "")
        if reason:
            skips.add(name, reason)
            continue
        read = partial(pictures.contents, path, f"image {name!r}")
        yield ImageRow(name, first_folder(name) | _text_file(path, folder), read, _where(path))


def _text_file(path: Path, folder: Path) -> dict[str, str]:
    """Return the column of the .txt beside an image; none where there is none in the folder."""
    text = path.with_suffix(TEXT)
    if not text.exists() or _leaves(text, folder):
        return {}
    return {TEXT_FILE: decoded(pictures.contents(text, _where(path), LONGEST), _where(path))}


def _where(path: Path) -> str:
    return f"caption {str(path.with_suffix(TEXT))!r}"


def _reason(path: Path, folder: Path) -> str:
    """Say why a file is left out; empty where its content is an image, or is nothing that its ending promises."""
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return HIDDEN
    if _leaves(path, folder):
        return LINK
    if path.is_dir():
        return "a link to a folder" if path.is_symlink() else "a folder"
    if not path.is_file():
        return "not a regular file"
    try:
        name = pictures.format_of_file(path, f"image {str(path)!r}")
    except InputError:
        return UNREADABLE
    if name in pictures.FORMATS or (path.suffix.lower() in pictures.ENDINGS and not name):
        return ""
    return name or "of an unknown format"


def _leaves(path: Path, folder: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
