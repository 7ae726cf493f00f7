"""A folder of images with captions: Hugging Face's `metadata.jsonl`, or a `.txt` file beside each image."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from unnoise.data.captions import LONGEST, caption_in, decoded, json_object
from unnoise.data.dataset import ImageDataset
from unnoise.data.readable import UNREADABLE, Item, Skips, readable_dataset
from unnoise.errors import InputError
from unnoise.formats import pictures

CAPTION = ".txt"
HIDDEN, LINK = "hidden", "linked from outside the folder"


def open_folder(folder: Path, size: int, strict: bool = False) -> ImageDataset:
    """Open a folder of images.

    Captions are read from `metadata.jsonl` (lines with `file_name` and `text` or `caption`), or from NAME.txt beside
    NAME.png. An image is a file with the ending of one, or with a caption beside it, in a format that is read; others
    are left out and counted, as are hidden files and links out of the folder.

    Args:
        size: side in pixels; images are scaled to cover the square and centre-cropped.
        strict: refuse what is left out.

    Raises:
        InputError: a caption is missing or not UTF-8, there is no image, or (strict) an image is left out.
    """
    metadata, skips = folder / "metadata.jsonl", Skips(strict)
    items = list(_metadata_items(folder, metadata, skips) if metadata.exists() else _text_file_items(folder, skips))
    return readable_dataset(str(folder), items, size, skips)


def _metadata_items(folder: Path, metadata: Path, skips: Skips) -> Iterator[Item]:
    if _leaves(metadata, folder):
        raise InputError(f"{metadata}: a link out of the folder; put the file itself there")
    lines = decoded(pictures.contents(metadata, str(metadata)), str(metadata)).split("\n")
    listed = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{metadata}:{number}"
        row = json_object(line, where)
        name = row.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name:
            raise InputError(f"{where}: file_name {str(name)[:60]!r}: the name of a file is needed")
        caption = caption_in(row, where)
        path = Path(os.path.normpath(folder / name))
        if not path.is_relative_to(os.path.normpath(folder)):
            raise InputError(f"{where}: file_name {name[:60]!r} lies outside the folder")
        listed.add(path)
        if _leaves(path, folder):
            skips.add(name, LINK)
        else:
            yield Item(name, caption, partial(pictures.contents, path, f"image {name!r}"))
    for path in sorted(Path(os.path.normpath(folder)).rglob("*")):
        if path.suffix.lower() in pictures.ENDINGS and path not in listed:
            skips.add(str(path.relative_to(os.path.normpath(folder))), "not in metadata.jsonl")


def _text_file_items(folder: Path, skips: Skips) -> Iterator[Item]:
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
        if not text.exists():
            raise InputError(f"image {str(path)!r} has no caption: add {text.name} beside it, or a metadata.jsonl")
        where = f"caption {str(text)!r}"
        caption = decoded(pictures.contents(text, where, LONGEST), where).strip()
        yield Item(name, caption, partial(pictures.contents, path, f"image {name!r}"))


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
