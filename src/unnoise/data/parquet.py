"""Parquet files with a column of images, read by row group and never whole."""

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
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
from unnoise.errors import InputError
from unnoise.formats import pictures
from unnoise.formats.open_file import is_file

WINDOW: Final = 64  # rows of images in memory
OPENED: Final = 8  # files that stay open
FOOTER: Final = 16 << 20  # bytes of a text of the footer
LARGE: Final = 64 << 20  # bytes of a column of a row group, from which its compression is looked at
RATIO: Final = 100
TEXTS: Final = 1 << 30  # bytes of the columns without images of a row group
SHARD: Final = re.compile(r"(?P<split>.+?)-\d+-of-\d+.*\.parquet")  # as the hub of Hugging Face names files
METADATA: Final = "metadata.parquet"  # of images that are files
SPLITS: Final = ("train", "validation", "test")  # in the order in which one is chosen


def splits(folder: Path) -> dict[str, list[Path]]:
    """Group the parquet files of a folder, and of the folders in it, by split; "" where their names say none."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")]):
        if path.name == METADATA:
            continue
        shard = SHARD.fullmatch(path.name)
        inner = path.parent.name if path.parent != folder and path.parent.name in SPLITS else ""
        own = path.stem if path.stem in SPLITS else ""
        found.setdefault(shard["split"] if shard else own or inner, []).append(path)
    return found


def parquet_rows(path: Path, root: Path, what: str) -> Iterator[ImageRow]:
    """List the images of a parquet file.

    Args:
        path: of the file.
        root: folder of the data set, in which files lie that cells name.
        what: the start of every message.
    """
    with pictures.one_line(f"{what}: {path.name}"):
        stamp = stamp_of(path, what)
        file = _opened(path)
        schema = file.schema_arrow
        column, names, features = (
            image_column(schema, f"{what}: {path.name}"),
            value_columns(schema),
            features_of(schema),
        )
        _check_size(file, path, f"{what}: {path.name}")
        number = 0
        for group in range(file.metadata.num_row_groups):
            for row, values in enumerate(_values(file, group, names, features, f"{what}: {path.name}")):
                name = f"{path.relative_to(root).as_posix()}:{number}"
                read = partial(_read, path, root, stamp, column, group, row, name)
                yield ImageRow(name, values, read, f"{path}: row {number}")
                number += 1


def parquet_values(path: Path, what: str) -> Iterator[dict[str, Any]]:
    """List the texts and numbers of each row of a parquet file. what: the start of every message."""
    with pictures.one_line(what):
        file = _opened(path)
        names, features = value_columns(file.schema_arrow), features_of(file.schema_arrow)
        _check_size(file, path, what)
        for group in range(file.metadata.num_row_groups):
            yield from _values(file, group, names, features, what)


def _check_size(file: Any, path: Path, what: str) -> None:
    """Raise InputError for a small file that states, or would fill, much memory."""
    facts, size = file.metadata, path.stat().st_size
    if facts.num_rows > size:
        raise InputError(f"{what}: {facts.num_rows} rows in {size} bytes; the file is damaged")
    for group in map(facts.row_group, range(facts.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            whole, packed = column.total_uncompressed_size, column.total_compressed_size
            if whole > LARGE and whole > RATIO * packed:
                raise InputError(f"{what}: {whole} bytes packed into {packed}; more than {RATIO} to 1 is not unpacked")


def _opened(path: Path) -> Any:
    if not is_file(path):
        raise InputError(f"{path}: no file")
    parquet = pyarrow(str(path)).parquet
    return parquet.ParquetFile(path, memory_map=True, pre_buffer=False, thrift_string_size_limit=FOOTER)


def _values(file: Any, group: int, names: list[str], features: Any, what: str) -> Iterator[dict[str, Any]]:
    """List the values of each row of a row group."""
    facts = file.metadata.row_group(group)
    if not names:
        return iter([{} for _ in range(facts.num_rows)])
    columns = (facts.column(i) for i in range(facts.num_columns))
    size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema.partition(".")[0] in names)
    if size > TEXTS:
        raise InputError(
            f"{what}: {size} bytes of text and numbers in a row group, at most {TEXTS}; write smaller ones"
        )
    table = file.read_row_group(group, columns=names, use_threads=False)
    table.validate(full=True)
    return values_of(table, names, features, what)


class ImageColumn:
    """The images of a parquet file: a window of rows is in memory, and moves forward through a row group."""

    def __init__(self, path: Path, column: str) -> None:
        self.file, self.column, self.lock = _opened(path), column, Lock()
        self.group, self.start = -1, 0
        self.cells: Any = ()
        self.batches: Iterator[Any] = iter(())

    def cell(self, group: int, row: int) -> Any:
        """Return a cell of a row group. Raises InputError where there are fewer rows than the file states."""
        with self.lock:
            if group != self.group or row < self.start:
                self.batches = self.file.iter_batches(WINDOW, [group], [self.column], use_threads=False)
                self.group, self.start, self.cells = group, 0, ()
            while row >= self.start + len(self.cells):
                self.start += len(self.cells)
                self.cells = self._next()
            return self.cells[row - self.start].as_py()

    def _next(self) -> Any:
        batch = next(self.batches, None)
        if batch is None:
            self.group = -1
            raise InputError("its row group has fewer rows than it states")
        batch.validate(full=True)
        return batch.column(0)


@lru_cache(maxsize=OPENED)
def _image_column(path: Path, stamp: Stamp, column: str) -> ImageColumn:
    return ImageColumn(path, column)


def _read(path: Path, root: Path, stamp: Stamp, column: str, group: int, row: int, name: str) -> bytes:
    with pictures.one_line(f"image {name!r}"):
        check_unchanged(path, stamp)
        return image_bytes(_image_column(path, stamp, column).cell(group, row), root, name)
