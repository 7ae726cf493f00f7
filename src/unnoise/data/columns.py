"""What a source says of each image, in columns; captions and labels are chosen from them by name."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from sys import intern
from typing import Any, Final

from unnoise.data.captions import LONGEST
from unnoise.data.readable import Item
from unnoise.errors import InputError, InputWarning, quoted

FOLDERS, TEXT_FILE = "folders", "txt"  # the first folder of an image, and the text of its .txt
AUTO, NONE = "auto", "none"
CAPTIONS: Final = ("text", "caption", TEXT_FILE)  # columns of captions = "auto"; the first that an image has is used
LONGEST_LABEL: Final = 200  # letters
SHOWN: Final = 20  # columns in a message
NO_CAPTION: Final = ("",)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image of a source: its name, its columns, a function that reads its bytes, and where the columns stand."""

    name: str
    columns: Mapping[str, Any]
    read: Callable[[], bytes]
    where: str


def first_folder(path: str) -> dict[str, str]:
    """Return the column of the first folder of a path that is relative to its source; none where it has no folder."""
    folder, slash, _ = path.removeprefix("./").partition("/")
    return {FOLDERS: folder} if slash and folder else {}


def count_columns(rows: Iterable[ImageRow]) -> Counter[str]:
    """Count the images that have a value in each column."""
    return Counter(name for row in rows for name, value in row.columns.items() if value is not None)


def items_of(source: str, rows: Sequence[ImageRow], captions: str, labels: str) -> list[Item]:
    """Choose the captions and the labels of images.

    Args:
        source: the start of every message.
        captions: `auto`, those of `text`, `caption` or a .txt where there are any and labels are none; `none`; or a
            column.
        labels: a column, or `folders` for the first folder of each image; empty for none.

    Raises:
        InputError: a column is not there, or its value is missing for some images or is no text.
    """
    known = count_columns(rows)
    texts = _captions(source, rows, NONE if labels and captions == AUTO else captions, known)
    names = _labels(source, rows, labels, known) if labels else [""] * len(rows)
    return [Item(row.name, found, name, row.read) for row, found, name in zip(rows, texts, names, strict=True)]


def _captions(source: str, rows: Sequence[ImageRow], captions: str, known: Counter[str]) -> list[tuple[str, ...]]:
    columns = CAPTIONS if captions == AUTO else (captions,)
    if captions == NONE or (captions == AUTO and not any(known[name] for name in CAPTIONS)):
        return [NO_CAPTION] * len(rows)
    values = _values(source, rows, columns, known, f"captions = {captions!r}", 'or set captions = "none"')
    texts = [_phrasings(row, value) for row, value in zip(rows, values, strict=True)]
    empty = [row.name for row, found in zip(rows, texts, strict=True) if found == NO_CAPTION]
    if empty:
        warnings.warn(
            f"{source}: {len(empty)} of {len(rows)} images have an empty caption, the first is {empty[0][-60:]!r}; "
            "they are used without a caption",
            InputWarning,
            stacklevel=4,
        )
    return texts


def _labels(source: str, rows: Sequence[ImageRow], labels: str, known: Counter[str]) -> list[str]:
    rows = [replace(row, columns={labels: _present(row.columns.get(labels))}) for row in rows]
    values = _values(source, rows, (labels,), known, f"labels = {labels!r}", "or leave these images out")
    return [_label(row, value) for row, value in zip(rows, values, strict=True)]


def _present(value: Any) -> Any:
    """Return a label, and None for a blank text, as tables without a value for missing ones write it."""
    return None if isinstance(value, str) and not value.strip() else value


def _values(
    source: str, rows: Sequence[ImageRow], columns: Sequence[str], known: Counter[str], option: str, other: str
) -> list[Any]:
    """Return the first of some columns of each image. Raises InputError where an image has none of them."""
    if rows and not any(known[name] for name in columns):
        there = ", ".join(sorted(known)[:SHOWN]) or "none"
        raise InputError(f"{source}: {option}: no image has this column; columns that are there: {there}")
    values = [next((row.columns[name] for name in columns if _is_given(row, name)), None) for row in rows]
    missing = [row.name for row, value in zip(rows, values, strict=True) if value is None]
    if missing:
        raise InputError(
            f"{source}: {option}: {len(missing)} of {len(rows)} images have none, the first is {missing[0][-60:]!r}; "
            f"add it, {other}"
        )
    return values


def _is_given(row: ImageRow, column: str) -> bool:
    return row.columns.get(column) is not None


def _phrasings(row: ImageRow, value: Any) -> tuple[str, ...]:
    """Return the captions of an image, a text or a list of texts; one empty caption where all are empty."""
    texts = value if isinstance(value, list | tuple) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{row.where}: caption {quoted(text)}: a text, or a list of texts")
        if len(text) > LONGEST:
            raise InputError(f"{row.where}: a caption of {len(text)} letters, at most {LONGEST} are read")
    return tuple(text.strip() for text in texts if text.strip()) or NO_CAPTION


def _label(row: ImageRow, value: Any) -> str:
    """Return the name of a class: a text, or a whole number as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as tables with gaps write whole numbers
    name = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not name or len(name) > LONGEST_LABEL:
        raise InputError(f"{row.where}: label {quoted(value)}: a text of 1 to {LONGEST_LABEL} letters, or a number")
    return intern(name)
