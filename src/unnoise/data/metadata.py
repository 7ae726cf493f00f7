"""The metadata of a folder of images: Hugging Face's imagefolder convention, one row an image, named by `file_name`."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from unnoise.data.captions import decoded, json_object
from unnoise.data.parquet import METADATA, parquet_values
from unnoise.errors import InputError, nearest, quoted
from unnoise.formats import pictures

FILES: Final = ("metadata.jsonl", "metadata.csv", METADATA)
FILE_NAME: Final = "file_name"


def metadata_files(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Find the metadata among the files of a folder. Raises InputError where a folder has two."""
    found: dict[Path, Path] = {}
    for path in paths:
        if path.name in FILES and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            if other := found.get(path.parent):
                raise InputError(f"{path.parent}: {other.name} and {path.name} describe the same images; keep one")
            found[path.parent] = path
    return [*found.values()]


def metadata_rows(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """List the rows of a file of metadata: where each stands, the name of its file, and its other columns.

    Raises:
        InputError: a row is broken, or names no file.
    """
    rows = {".jsonl": _json_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}[path.suffix]
    for where, columns in rows(path):
        name = columns.pop(FILE_NAME, None)
        if not isinstance(name, str) or not name or "\0" in name:
            raise InputError(f"{where}: file_name {quoted(name)}: the name of a file is needed")
        yield where, name, columns


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", json_object(line, f"{path}:{number}")


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = csv.reader(_text(path).splitlines(keepends=True), strict=True)
    try:
        names = next(lines, [])
        if FILE_NAME not in names or len(set(names)) < len(names):
            raise InputError(f"{path}:1: columns {quoted(names)}: {FILE_NAME} is needed, and each name once")
        for values in lines:
            where = f"{path}:{lines.line_num}"
            if values and len(values) != len(names):
                raise InputError(f"{where}: {len(values)} values for {len(names)} columns; put quotes around commas")
            if values:
                yield where, dict(zip(names, values, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{lines.line_num}: not CSV: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, columns in enumerate(parquet_values(path, str(path))):
        if FILE_NAME not in columns:
            raise InputError(f"{path}: no column {FILE_NAME!r}: {nearest(FILE_NAME, columns)}")
        yield f"{path}: row {number}", columns


def _text(path: Path) -> str:
    return decoded(pictures.contents(path, str(path)), str(path))
