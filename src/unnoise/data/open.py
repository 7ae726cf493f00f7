"""Open a data set by its name or path."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unnoise.data.columns import AUTO, NO_CAPTION, NONE, ImageRow, count_columns, items_of
from unnoise.data.dataset import WHITE, ImageDataset
from unnoise.data.emoji import open_emoji
from unnoise.data.folder import folder_rows
from unnoise.data.hf_dataset import STATE, is_saved, saved_rows, saved_splits
from unnoise.data.parquet import parquet_rows, splits
from unnoise.data.readable import Skips, checked, readable_dataset
from unnoise.data.tars import tar_rows
from unnoise.errors import InputError, InputWarning
from unnoise.formats import pictures

EMOJI, TRAIN = "emoji", "train"
PARQUET, TAR = ".parquet", ".tar"
SHOWN = 20  # splits in a message


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
        name: `emoji`; a folder of images, of .tar files, of .parquet files or of a saved `datasets`; or a .tar or
            .parquet file. `FOLDER:train` is one split of several.
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
        if labels or captions not in (AUTO, NONE):
            raise InputError("data.source 'emoji': has captions and no other columns; leave out captions and labels")
        emoji = open_emoji(size)
        texts = emoji.captions if captions == AUTO else (NO_CAPTION,) * len(emoji)
        return replace(emoji, captions=texts, background=background)
    skips = Skips(strict)
    items = items_of(f"data.source {name!r}", _rows(name, skips), captions, labels)
    return replace(readable_dataset(name, items, size, skips), background=background)


def source_columns(name: str) -> Counter[str]:
    """Count the images of a source that have a value in each column, without decoding them; `folders` is one."""
    return Counter() if name == EMOJI else count_columns(_rows(name, Skips(strict=False)))


def _rows(name: str, skips: Skips) -> Sequence[ImageRow]:
    path, split = _place(name)
    what = f"data.source {name!r}"
    if not path.exists():
        raise InputError(f"{what}: 'emoji', or an existing folder, .tar or .parquet file")
    if found := saved_splits(path):
        return [*saved_rows(path / _chosen(found, split, what), what)]
    if is_saved(path) and not split:
        return [*saved_rows(path, what)]
    if path.suffix == PARQUET:
        return [*parquet_rows(path, path.parent, what)]
    if files := _parquet_files(path):
        return [row for file in files[_chosen([*files], split, what)] for row in parquet_rows(file, path, what)]
    if split and not (path / split).is_dir():
        raise InputError(f"{what}: {str(path)!r} has no folder {split!r}")
    place = path / split
    if place.is_file() and place.suffix != TAR:
        raise InputError(f"{what}: a file; a folder, or a {TAR} (not compressed) or {PARQUET} file, is read")
    if any(place.glob("*.arrow")):
        raise InputError(f"{what}: .arrow files without {STATE}; save the data set with Dataset.save_to_disk")
    return tar_rows(place, skips) if place.suffix == TAR or any(place.glob(f"*{TAR}")) else folder_rows(place, skips)


def _place(name: str) -> tuple[Path, str]:
    """Return a path and a split of `FOLDER:train`; a path that exists has no split."""
    head, colon, split = name.rpartition(":")
    return (Path(head), split) if colon and not Path(name).exists() else (Path(name), "")


def _parquet_files(path: Path) -> dict[str, list[Path]]:
    """Group the parquet files of a folder by split; none where it has images, which they may describe."""
    has_images = path.is_dir() and any(one.suffix.lower() in pictures.ENDINGS for one in path.iterdir())
    return {} if has_images else splits(path)


def _chosen(found: Sequence[str], split: str, what: str) -> str:
    """Choose a split: the one that is asked for, the only one, or `train`, in one line."""
    if split in found and (split or len(found) == 1):
        return split
    listed = ", ".join(sorted(one or "files without one" for one in found)[:SHOWN])
    if split:
        raise InputError(f"{what}: no split {split!r}; splits that are there: {listed}")
    if len(found) == 1:
        return found[0]
    if TRAIN not in found:
        raise InputError(f"{what}: several splits, of which none is {TRAIN!r}: {listed}; name one, as FOLDER:SPLIT")
    warnings.warn(f"{what}: split {TRAIN!r} is used; splits that are there: {listed}", InputWarning, stacklevel=5)
    return TRAIN
