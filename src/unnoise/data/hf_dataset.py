"""Data sets that Hugging Face's `datasets` saved to disk: Arrow streams, mapped into memory."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from unnoise.data.arrow_table import (
    Stamp,
    check_unchanged,
    features_of,
    image_bytes,
    image_column,
    pyarrow,
    stamp_of,
    value_columns,
    values_of,
)
from unnoise.data.columns import ImageRow
from unnoise.errors import InputError, quoted
from unnoise.formats import pictures
from unnoise.formats.json_text import read_json
from unnoise.formats.open_file import inside, is_file

STATE: Final = "state.json"  # of one split, which lists its files
DICT: Final = "dataset_dict.json"  # of several splits, each a folder


def is_saved(folder: Path) -> bool:
    """Return whether `datasets` saved one split in a folder."""
    return is_file(folder / STATE)


def saved_splits(folder: Path) -> list[str]:
    """Name the splits that `datasets` saved in a folder; none where it did not."""
    if not is_file(folder / DICT):
        return []
    found = read_json(folder / DICT, folder, strict=False).get("splits")
    if not isinstance(found, list) or not found or not all(map(_is_name, found)):
        raise InputError(f"{folder / DICT}: splits {quoted(found)}: a list of names of folders")
    return found


def _is_name(value: object) -> bool:
    """Return whether a value names a folder within another."""
    return isinstance(value, str) and "\0" not in value and value not in ("", "..") and Path(value).name == value


def saved_rows(folder: Path, what: str) -> Iterator[ImageRow]:
    """List the images of one split.

    Args:
        folder: of the split.
        what: the start of every message.

    Raises:
        InputError: a file is missing, damaged or outside the folder, or has no column of images.
    """
    state = read_json(folder / STATE, folder, strict=False)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise InputError(f"{folder / STATE}: rows are selected by a file of indices; save it after flatten_indices()")
    files = state.get("_data_files")
    if not isinstance(files, list):
        raise InputError(f"{folder / STATE}: _data_files {quoted(files)}: a list of files")
    for one in files:
        name = one.get("filename") if isinstance(one, dict) else None
        if not isinstance(name, str) or not name or not is_file(folder / name):
            raise InputError(f"{folder / STATE}: _data_files names {quoted(name)}: no file of this folder")
        with pictures.one_line(f"{what}: {name}"):
            yield from _stream_rows(inside(folder / name, folder), folder, f"{what}: {name}")


def _stream_rows(path: Path, folder: Path, what: str) -> Iterator[ImageRow]:
    arrow, stamp = pyarrow(what), stamp_of(path, what)
    reader = arrow.ipc.open_stream(arrow.memory_map(str(path)))
    column, names = image_column(reader.schema, what), value_columns(reader.schema)
    features, number = features_of(reader.schema), 0
    for batch in reader:
        if batch.nbytes > stamp[0]:
            raise InputError(
                f"{what}: {batch.nbytes} bytes in a file of {stamp[0]}: compressed; save it with `datasets`"
            )
        batch.validate(full=True)
        for row, values in enumerate(values_of(batch, names, features, what)):
            name = f"{path.name}:{number}"
            read = partial(_read, path, folder, stamp, batch.column(column), row, name)
            yield ImageRow(name, values, read, f"{path}: row {number}")
            number += 1


def _read(path: Path, folder: Path, stamp: Stamp, cells: Any, row: int, name: str) -> bytes:
    with pictures.one_line(f"image {name!r}"):
        check_unchanged(path, stamp)
        return image_bytes(cells[row].as_py(), folder, name)
