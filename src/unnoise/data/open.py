"""Open a data set by its name or path."""

from pathlib import Path

from unnoise.data.dataset import ImageDataset
from unnoise.data.emoji import open_emoji
from unnoise.data.folder import open_folder
from unnoise.data.readable import checked
from unnoise.data.tars import open_tars
from unnoise.errors import InputError


def open_source(name: str, size: int, strict: bool = False, workers: int = 0) -> ImageDataset:
    """Open a data set at size x size pixels, and decode each image once to see whether it can be.

    Args:
        name: `emoji`, a folder of images, a .tar file, or a folder of .tar files.
        strict: refuse images that would be skipped.
        workers: processes that decode; 0 to choose.

    Raises:
        InputError: the path does not exist, a caption is missing, or (strict) an image would be skipped.
    """
    return checked(open_unchecked(name, size, strict), strict, workers)


def open_unchecked(name: str, size: int, strict: bool = False) -> ImageDataset:
    """Open a data set as `open_source` does, of which only the headers of images are read: for who decodes all."""
    if name == "emoji":
        return open_emoji(size)
    path = Path(name)
    if not path.exists():
        raise InputError(f"data.source {name!r}: 'emoji', or an existing folder of images or .tar files")
    if path.suffix == ".tar" or any(path.glob("*.tar")):
        return open_tars(path, size, strict)
    return open_folder(path, size, strict)
