"""`unnoise convert`: a pickle of weights to safetensors, or a model file to 8-bit weights."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.torch_import import import_torch
from unnoise.errors import InputError


def convert(
    file: Annotated[Path, Parameter(help="Pickle of weights: .bin, .ckpt, .pt or .pth; or a model file.")],
    out: Annotated[Path | None, Parameter(help="File to write; next to FILE by default.")] = None,
    /,
    *,
    weights: Annotated[
        Literal["float16", "int8"] | None,
        Parameter(help="Of a model file: dtype of the weights; int8 has a scale for each row, at half the size."),
    ] = None,
    force: Annotated[bool, Parameter(negative="", help="Overwrite an existing file.")] = False,
) -> None:
    """Convert a pickle of weights to safetensors, which cannot run code.

    A separate process reads the pickle and builds tensors only. A pickle that needs anything else is refused.

    With --weights, a model file of this program is written again in another precision.
    """
    if weights is not None and out is None:
        raise InputError("out: missing; with --weights, give the file to write")
    target = file.with_suffix(".safetensors") if out is None else out
    if target.exists() and not force:
        raise InputError(f"{target}: already exists; --force overwrites it")
    with busy(f"reading {file}"):
        import_torch()
        if weights is None:
            from unnoise.formats.unpickle import convert as converted

            converted(file, target)
        else:
            import torch

            from unnoise import model_file

            model_file.save(target, model_file.load(file), getattr(torch, weights))
    print(target)
