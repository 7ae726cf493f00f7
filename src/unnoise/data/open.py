"""Open a data set by its name or path."""

from pathlib import Path

from unnoise.data.dataset import ImageDataset
from unnoise.data.emoji import open_emoji
from unnoise.data.folder import open_folder
from unnoise.data.tars import open_tars
from unnoise.errors import InputError


def open_source(name: str, size: int, strict: bool = False) -> ImageDataset:
    """Open a data set at size x size pixels.

    Args:
        name: `emoji`, a folder of images, a .tar file, or a folder of .tar files.
        strict: refuse images that would be skipped.

    Raises:
        InputError: the path does not exist, a caption is missing, or (strict) an image would be skipped.
    """
    if name == "emoji":
        return open_emoji(size)
    path = Path(name)
    if not path.exists():
        raise InputError(f"data.source {name!r}: 'emoji', or an existing folder of images or .tar files")
    if path.suffix == ".tar" or any(path.glob("*.tar")):
        return open_tars(path, size, strict)
    return open_folder(path, size, strict)
