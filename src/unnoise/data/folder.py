"""A folder of images: columns from Hugging Face's `metadata.jsonl`, or a caption in a `.txt` file beside an image."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from unnoise.data.captions import LONGEST, decoded, json_object
from unnoise.data.columns import TEXT_FILE, ImageRow, first_folder
from unnoise.data.readable import UNREADABLE, Skips
from unnoise.errors import InputError
from unnoise.formats import pictures

CAPTION = ".txt"
HIDDEN, LINK = "hidden", "linked from outside the folder"


def folder_rows(folder: Path, skips: Skips) -> list[ImageRow]:
    """List the images of a folder and of the folders in it.

    Columns are those of `metadata.jsonl` (lines with `file_name`), the text of NAME.txt beside NAME.png, and the first
    folder of an image. An image is a file with the ending of one, or with a .txt beside it, in a format that is read;
    others are left out and counted, as are hidden files and links out of the folder.

    Raises:
        InputError: a text is not UTF-8, a line is broken, or (strict) an image is left out.
    """
    metadata = folder / "metadata.jsonl"
    return list(_metadata_rows(folder, metadata, skips) if metadata.exists() else _text_file_rows(folder, skips))


def _metadata_rows(folder: Path, metadata: Path, skips: Skips) -> Iterator[ImageRow]:
    if _leaves(metadata, folder):
        raise InputError(f"{metadata}: a link out of the folder; put the file itself there")
    lines = decoded(pictures.contents(metadata, str(metadata)), str(metadata)).split("\n")
    listed = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{metadata}:{number}"
        columns = json_object(line, where)
        name = columns.pop("file_name", None)
        if not isinstance(name, str) or not name or "\0" in name:
            raise InputError(f"{where}: file_name {str(name)[:60]!r}: the name of a file is needed")
        path = Path(os.path.normpath(folder / name))
        if not path.is_relative_to(os.path.normpath(folder)):
            raise InputError(f"{where}: file_name {name[:60]!r} lies outside the folder")
        listed.add(path)
        if _leaves(path, folder):
            skips.add(name, LINK)
        else:
            read = partial(pictures.contents, path, f"image {name!r}")
            yield ImageRow(name, first_folder(name) | columns, read, where)
    for path in sorted(Path(os.path.normpath(folder)).rglob("*")):
        if path.suffix.lower() in pictures.ENDINGS and path not in listed:
            skips.add(str(path.relative_to(os.path.normpath(folder))), "not in metadata.jsonl")


def _text_file_rows(folder: Path, skips: Skips) -> Iterator[ImageRow]:
    paths = sorted(folder.rglob("*"))
    stems = {path.with_suffix("") for path in paths if path.suffix.lower() in pictures.ENDINGS}
    captioned = {path.with_suffix("") for path in paths if path.suffix == CAPTION} - stems
    for path in paths:
        ending = path.suffix.lower()
        is_linked = path.is_symlink() and path.is_dir()
        beside = path.with_suffix("") in captioned and ending != CAPTION and not path.is_dir()
        if ending not in pictures.ENDINGS and ending not in pictures.OTHERS and not beside and not is_linked:
            continue
        name, text = str(path.relative_to(folder)), path.with_suffix(CAPTION)
        reason = _reason(path, folder) or (LINK if _leaves(text, folder) else "")
        if reason:
            skips.add(name, reason)
            continue
        columns, where = first_folder(name), f"caption {str(text)!r}"
        if text.exists():
            columns[TEXT_FILE] = decoded(pictures.contents(text, where, LONGEST), where)
        yield ImageRow(name, columns, partial(pictures.contents, path, f"image {name!r}"), where)


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
