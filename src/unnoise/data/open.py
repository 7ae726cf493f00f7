"""Open a data set by its name or path."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unnoise.data.columns import AUTO, ImageRow, count_columns, items_of
from unnoise.data.dataset import WHITE, ImageDataset
from unnoise.data.emoji import open_emoji
from unnoise.data.folder import folder_rows
from unnoise.data.readable import Skips, checked, readable_dataset
from unnoise.data.tars import tar_rows
from unnoise.errors import InputError

EMOJI = "emoji"


def open_source(
    name: str,
    size: int,
    strict: bool = False,
    workers: int = 0,
    captions: str = AUTO,
    labels: str = "",
    background: str = WHITE,
) -> ImageDataset:
    """Open a data set at size x size pixels, and decode each image once to see whether it can be.

    Args:
        name: `emoji`, a folder of images, a .tar file, or a folder of .tar files.
        strict: refuse images that would be skipped.
        workers: processes that decode; 0 to choose.
        captions: `auto`, `none`, or a column, as for `columns.items_of`.
        labels: a column, or `folders`; empty for none.
        background: colour behind transparent pixels, a name or #rrggbb.

    Raises:
        InputError: the path does not exist, captions or labels are missing for some images, or (strict) an image would
            be skipped.
    """
    return checked(open_unchecked(name, size, strict, captions, labels, background), strict, workers)


def open_unchecked(
    name: str, size: int, strict: bool = False, captions: str = AUTO, labels: str = "", background: str = WHITE
) -> ImageDataset:
    """Open a data set as `open_source` does, of which only the headers of images are read: for who decodes all."""
    if name == EMOJI:
        if labels or captions != AUTO:
            raise InputError("data.source 'emoji': has captions and no other columns; leave out captions and labels")
        return replace(open_emoji(size), background=background)
    skips = Skips(strict)
    items = items_of(f"data.source {name!r}", _rows(name, skips), captions, labels)
    return replace(readable_dataset(name, items, size, skips), background=background)


def source_columns(name: str) -> Counter[str]:
    """Count the images of a source that have a value in each column, without decoding them; `folders` is one."""
    return Counter() if name == EMOJI else count_columns(_rows(name, Skips(strict=False)))


def _rows(name: str, skips: Skips) -> Sequence[ImageRow]:
    path = Path(name)
    if not path.exists():
        raise InputError(f"data.source {name!r}: 'emoji', or an existing folder of images or .tar files")
    if path.suffix == ".tar" or any(path.glob("*.tar")):
        return tar_rows(path, skips)
    return folder_rows(path, skips)
