"""Load a model, whoever made it: by name, from a file of this program, from a diffusers folder or a foreign file."""

import os
from pathlib import Path
from typing import Literal

import torch

from unnoise.errors import Refusal, nearest
from unnoise.files.card import KEY
from unnoise.files.header import read_header
from unnoise.files.model_file import known_device, load as load_own, meta as own_meta
from unnoise.files.request import DTYPES
from unnoise.files.zoo import find
from unnoise.pipeline import Pipeline


def load(
    model: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    dtype: str = "float32",
    parts: str | os.PathLike[str] | None = None,
    predicts: Literal["eps", "v"] | None = None,
    compiled: bool = False,
) -> Pipeline:
    """Load a model by its name in the zoo, from its file, or from a diffusers folder.

    dtype: of the weights, "float32", "bfloat16" or "float16"; parts: a diffusers folder that has what a foreign single
    file lacks, such as text encoders and tokenizers; predicts: what a foreign network answers with, where its file does
    not say; compiled: compile the block that a foreign network repeats, which takes a minute at its first call. Raises
    Refusal for what is unknown, damaged or incomplete, and for arguments that cannot act.
    """
    path = find(model)
    place = known_device(device)
    if dtype not in DTYPES:
        raise Refusal(f"dtype {dtype!r}: {nearest(dtype, DTYPES)}")
    if not path.is_dir() and KEY in read_header(path).metadata:
        given = {"dtype": dtype, "parts": parts, "predicts": predicts, "compiled": compiled}
        for name, value in given.items():
            if value not in ("float32", None, False):
                raise Refusal(f"{name} {str(value)!r}: for models of other makers; {path} has all it needs in float32")
        return load_own(path, place)
    from unnoise.files.foreign.load import load as load_foreign

    folder = None if parts is None else Path(parts)
    return load_foreign(path, place, getattr(torch, dtype), folder, predicts, compiled)


def meta(
    model: str | os.PathLike[str],
    *,
    parts: str | os.PathLike[str] | None = None,
    predicts: Literal["eps", "v"] | None = None,
) -> Pipeline:
    """Make the pipeline of a model on the meta device: what it is and costs, without weights.

    Arguments are those of `load`. Raises Refusal for what is unknown, incomplete or not sound.
    """
    path = find(model)
    if not path.is_dir() and KEY in read_header(path).metadata:
        if parts is not None or predicts is not None:
            raise Refusal(f"parts and predicts: for models of other makers; {path} has all it needs")
        return own_meta(path)
    from unnoise.files.foreign.load import meta as foreign_meta

    return foreign_meta(path, None if parts is None else Path(parts), predicts)
