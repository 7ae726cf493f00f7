"""`unnoise convert`: from a pickle of weights to safetensors."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.torch_import import import_torch
from unnoise.errors import InputError


def convert(
    file: Annotated[Path, Parameter(help="Pickle of weights: .bin, .ckpt, .pt or .pth.")],
    out: Annotated[Path | None, Parameter(help="File to write; beside FILE unless given.")] = None,
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Write over a file that is there.")] = False,
) -> None:
    """Write the weights of a pickle as safetensors, which cannot run code.

    The pickle is read by a process of its own that makes tensors of it and nothing else; where it asks for more, it is
    refused, and what it asked for is named.
    """
    target = file.with_suffix(".safetensors") if out is None else out
    if target.exists() and not force:
        raise InputError(f"{target}: is there already; --force writes over it")
    with busy(f"reading {file}"):
        import_torch()
        from unnoise.formats.unpickle import convert as converted

        converted(file, target)
    print(target)
