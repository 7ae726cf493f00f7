"""Images of one's own in Python as a data set: PIL images, arrays or tensors, with captions or labels or without."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from unnoise.data.columns import AUTO, CAPTIONS, ImageRow, count_columns, items_of
from unnoise.data.dataset import WHITE, ImageDataset
from unnoise.data.readable import Skips, checked, readable_dataset
from unnoise.errors import InputError, quoted
from unnoise.formats.pictures import NOT_FINITE

IMAGE, TEXT, LABEL = "image", "text", "label"
PNG: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes of PIL that a file keeps
TIFF: Final = ("F", "I", "CMYK", "LAB")
SHAPES: Final = "(H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels, of bytes, or of floats from 0 to 1"


def dataset_of(
    items: Iterable[Any],
    size: int = 0,
    strict: bool = False,
    captions: str = AUTO,
    labels: str = AUTO,
    classes: Sequence[str] = (),
    background: str = WHITE,
) -> ImageDataset:
    """Make a data set of images in Python.

    Args:
        items: images, (image, caption), (image, label), or dicts of `image` and columns such as `text` and `label`; the
            label of a pair is a whole number. An image is a PIL image, or an array or tensor (H, W), (H, W, C) or
            (C, H, W) of bytes, or of floats from 0 to 1. A sequence is read when an image is needed; any other iterable
            is read to its end and kept.
        size: side in pixels; the shorter side of the first image unless given.
        strict: refuse images that would be skipped.
        captions: `auto`, `none`, or a column, as for a folder.
        labels: a column; `auto` is `label` where there are labels and no captions; empty for none.
        classes: names of the labels 0, 1, ...
        background: colour behind transparent pixels, a name or #rrggbb.

    Raises:
        InputError: there is no image, an item is none of these, or (strict) an image would be skipped.
    """
    name = type(items).__name__
    kept: Any = items if hasattr(items, "__getitem__") and hasattr(items, "__len__") else [*items]
    rows = [_row(kept, i, f"{name}[{i}]", classes) for i in range(len(kept))]
    if not rows:
        raise InputError(f"data: {name}: no image; at least one is needed")
    known = count_columns(rows)
    if labels == AUTO:
        is_captioned = captions != AUTO or any(known[column] for column in CAPTIONS)
        labels = LABEL if known[LABEL] and not is_captioned else ""
    chosen = items_of(f"data: {name}", rows, captions, labels)
    side = size or min(_size(_parts(kept[0], rows[0].where)[0]))
    return replace(checked(readable_dataset(name, chosen, side, Skips(strict)), strict), background=background)


def _row(items: Any, i: int, where: str, classes: Sequence[str]) -> ImageRow:
    image, columns = _parts(items[i], where)
    if not isinstance(image, Image.Image) and _channels_last(image) is None:
        raise InputError(f"{where}: {quoted(image)}: an image is a PIL image, or an array {SHAPES}")
    label = columns.get(LABEL)
    if getattr(label, "ndim", None) == 0:  # a number of numpy or torch
        columns[LABEL] = label = label.item()  # type: ignore[union-attr]
    if classes and type(label) is int:
        if not 0 <= label < len(classes):
            raise InputError(f"{where}: label {label}: from 0 to {len(classes) - 1}, one for each of the classes")
        columns[LABEL] = classes[label]
    return ImageRow(where, columns, partial(_read, items, i, where), where)


def _parts(item: Any, where: str) -> tuple[Any, dict[str, Any]]:
    """Split an item into its image and its columns."""
    if isinstance(item, Mapping):
        if IMAGE not in item:
            raise InputError(f"{where}: a dict of {', '.join(map(quoted, list(item)[:9]))}; {IMAGE!r} is needed")
        return item[IMAGE], {str(name): value for name, value in item.items() if name != IMAGE}
    if not isinstance(item, tuple | list):
        return item, {}
    if len(item) not in (1, 2):
        raise InputError(f"{where}: {len(item)} values; an image, (image, caption) or (image, label)")
    image, *rest = item
    is_text = bool(rest) and isinstance(rest[0], str | tuple | list)
    return image, {TEXT if is_text else LABEL: value for value in rest}


def _read(items: Any, i: int, where: str) -> bytes:
    """Return the image of an item as a file, which is decoded like any other. Raises InputError where it has none."""
    image, _ = _parts(items[i], where)
    if not isinstance(image, Image.Image):
        image = _image(_channels_last(image), where)
    upright = ImageOps.exif_transpose(image)
    buffer = BytesIO()
    if upright.mode in TIFF:
        upright.save(buffer, "TIFF")
    else:
        (upright if upright.mode in PNG else upright.convert("RGBA")).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _size(image: Any) -> tuple[int, int]:
    height, width = image.size[::-1] if isinstance(image, Image.Image) else _channels_last(image).shape[:2]
    return width, height


def _channels_last(image: Any) -> Any:
    """Return an array or a tensor as an array (H, W) or (H, W, C); None for anything else."""
    if hasattr(image, "detach"):
        image = image.detach().cpu()
    if not hasattr(image, "__array__"):
        return None
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    return array if is_image and array.size and array.dtype.kind in "fuib" else None


def _image(array: Any, where: str) -> Image.Image:
    """Bring an array to 8 bits. Raises InputError where its values have no known range."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"image {where!r}: {NOT_FINITE}: NaN or infinity in the array")
    most = 255 if array.dtype.kind in "ui" else 1
    low, high = float(array.min()), float(array.max())
    if not 0 <= low <= high <= most:
        raise InputError(
            f"image {where!r}: values from {low:g} to {high:g}, of {array.dtype} from 0 to {most}; scale them"
        )
    bytes_ = np.asarray(array if most == 255 else np.round(array.astype(np.float64) * 255), np.uint8)
    return Image.fromarray(bytes_[..., 0] if bytes_.shape[2:] == (1,) else np.ascontiguousarray(bytes_))
