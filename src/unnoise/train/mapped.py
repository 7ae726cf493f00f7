"""Arrays that are written once to a file and mapped from it: they take no memory of the process that reads them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unnoise.formats.atomic import refusing_writes, replacing
from unnoise.train.processes import world

Array = np.ndarray[Any, Any]


def write_mapped(path: Path, parts: Iterable[Array], shape: tuple[int, ...], dtype: str) -> Tensor:
    """Write the rows of an array, part by part, and map the file. An interruption leaves the old file or the new one.

    Of several processes that train together the first writes; the others map what it has written.

    Raises:
        OutputError: the disk is full.
    """
    if not world().rank:
        with replacing(path) as file:
            for part in parts:
                with refusing_writes(path):
                    file.write(np.ascontiguousarray(part, dtype).tobytes())
    return map_file(path, shape, dtype)


def map_file(path: Path, shape: tuple[int, ...], dtype: str) -> Tensor:
    """Map a file as a tensor. A write to it stays in memory; the file never changes."""
    return torch.from_numpy(np.memmap(path, dtype, "c", shape=shape))
