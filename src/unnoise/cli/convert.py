"""`unnoise convert`: a pickle of weights to safetensors."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.torch_import import import_torch
from unnoise.errors import InputError


def convert(
    file: Annotated[Path, Parameter(help="Pickle of weights: .bin, .ckpt, .pt or .pth.")],
    out: Annotated[Path | None, Parameter(help="File to write; next to FILE by default.")] = None,
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Overwrite an existing file.")] = False,
) -> None:
    """Convert a pickle of weights to safetensors, which cannot run code.

    A separate process reads the pickle and builds tensors only. A pickle that needs anything else is refused.
    """
    target = file.with_suffix(".safetensors") if out is None else out
    if target.exists() and not force:
        raise InputError(f"{target}: already exists; --force overwrites it")
    with busy(f"reading {file}"):
        import_torch()
        from unnoise.formats.unpickle import convert as converted

        converted(file, target)
    print(target)
