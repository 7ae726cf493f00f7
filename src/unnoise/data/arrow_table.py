"""Tables of Apache Arrow: which column holds the images, the values of the others, and the bytes of a cell."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from unnoise.data.readable import EMPTY, OUTSIDE
from unnoise.errors import InputError, quoted
from unnoise.formats import pictures
from unnoise.formats.json_text import json_object
from unnoise.formats.open_file import inside, read_bytes

PIP: Final = "pip install 'unnoise[data]'"
IMAGES: Final = ("image", "img", "picture", "photo", "png", "jpg", "jpeg")  # names of a column of several with bytes
SHOWN: Final = 20  # columns in a message
CLASS_LABEL: Final = "ClassLabel"  # a whole number that has a name, in the features of Hugging Face

Features = Mapping[str, Any]  # what Hugging Face writes of each column
Stamp = tuple[int, int]


def pyarrow(what: str) -> Any:
    """Import pyarrow. Raises InputError that says how to install it."""
    try:
        import pyarrow as found
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{what}: Arrow and parquet files are read by pyarrow: {PIP}") from None
    return found


def stamp_of(path: Path, what: str) -> Stamp:
    """Return what changes with the content of a file: its size, and when it was written. Raises InputError."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{what}: cannot be read: {error.strerror}") from None
    return status.st_size, status.st_mtime_ns


def check_unchanged(path: Path, stamp: Stamp) -> None:
    """Raise InputError where a file is not what it was when it was opened: of a shorter one no page may be read."""
    if stamp_of(path, str(path)) != stamp:
        raise InputError(f"{path}: has changed since it was opened; leave it as it is while it is used")


def image_column(schema: Any, what: str) -> str:
    """Name the column of images: of bytes, or of structs with bytes. Raises InputError unless there is one."""
    found = [field.name for field in schema if _holds_images(field.type)]
    if len(found) > 1:
        found = [name for name in IMAGES if name in found][:1] or found
    if not found:
        raise InputError(f"{what}: no column has the bytes of images; columns that are there: {_listed(schema.names)}")
    if len(found) > 1:
        raise InputError(
            f"{what}: several columns have bytes: {_listed(found)}; rename that of the images {IMAGES[0]!r}"
        )
    return found[0]


def value_columns(schema: Any) -> list[str]:
    """Name the columns of texts, lists of texts and numbers."""
    return [field.name for field in schema if _is_value(field.type)]


def features_of(schema: Any) -> Features:
    """Return what Hugging Face's `datasets` writes of the columns into a schema; nothing where it did not write it."""
    raw = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        info = json_object(raw.decode(), strict=False).get("info")
    except ValueError:
        return {}
    features = info.get("features") if isinstance(info, dict) else None
    return features if isinstance(features, dict) else {}


def values_of(table: Any, names: Sequence[str], features: Features, what: str) -> Iterator[dict[str, Any]]:
    """List the values of each row, numbers of classes as their names."""
    columns = [_named(table.column(name).to_pylist(), features.get(name), f"{what}: {name}") for name in names]
    for row in range(table.num_rows):
        yield {name: column[row] for name, column in zip(names, columns, strict=True)}


def image_bytes(cell: Any, folder: Path, name: str) -> bytes:
    """Return the bytes of a cell, or those of the file in the folder that it names. Raises InputError for neither."""
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(content, bytes):
        if len(content) > pictures.BYTES:
            raise InputError(f"image {name!r}: {len(content)} bytes, at most {pictures.BYTES}")
        return content
    if not isinstance(path, str) or not path:
        raise InputError(f"image {name!r}: {EMPTY}: its cell is empty")
    try:
        place = inside(folder / path, folder)
    except InputError:
        raise InputError(f"image {name!r}: {OUTSIDE}: path {quoted(path)}; copy the file into it") from None
    return read_bytes(place, pictures.BYTES)


def _named(values: list[Any], feature: Any, what: str) -> list[Any]:
    """Replace the numbers of a ClassLabel by its names; a negative number is none."""
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == CLASS_LABEL else None
    if not isinstance(names, list) or not names:
        return values
    largest = max((value for value in values if isinstance(value, int)), default=0)
    if largest >= len(names):
        raise InputError(f"{what}: class {largest}, and {len(names)} names; write a name for each")
    return [names[value] if isinstance(value, int) and value >= 0 else None for value in values]


def _holds_images(kind: Any) -> bool:
    types = pyarrow("").types
    if types.is_struct(kind):
        return any(_holds_images(field.type) or types.is_null(field.type) for field in kind if field.name == "bytes")
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_value(kind: Any) -> bool:
    types = pyarrow("").types
    if types.is_list(kind) or types.is_dictionary(kind):
        return _is_text(kind.value_type) or (types.is_dictionary(kind) and types.is_integer(kind.value_type))
    return _is_text(kind) or any(test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean))


def _is_text(kind: Any) -> bool:
    types = pyarrow("").types
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names[:SHOWN])
