"""Load a model, whoever made it: by name, from a file of this program, from a diffusers folder or a foreign file."""

import os
from pathlib import Path
from typing import Literal

import torch

from unnoise.errors import Refusal, nearest
from unnoise.files.card import KEY
from unnoise.files.header import read_header
from unnoise.files.model_file import known_device, load as load_own
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
) -> Pipeline:
    """Load a model by its name in the zoo, from its file, or from a diffusers folder.

    dtype: of the weights, "float32", "bfloat16" or "float16"; parts: a diffusers folder that has what a foreign single
    file lacks, such as text encoders and tokenizers; predicts: what a foreign network answers with, where its file does
    not say. Raises Refusal for what is unknown, damaged or incomplete, and for arguments that cannot act.
    """
    path = find(model)
    place = known_device(device)
    if dtype not in DTYPES:
        raise Refusal(f"dtype {dtype!r}: {nearest(dtype, DTYPES)}")
    if not path.is_dir() and KEY in read_header(path).metadata:
        for name, value, plain in (("dtype", dtype, "float32"), ("parts", parts, None), ("predicts", predicts, None)):
            if value != plain:
                raise Refusal(f"{name} {str(value)!r}: for models of other makers; {path} has all it needs in float32")
        return load_own(path, place)
    from unnoise.files.foreign.load import load as load_foreign

    folder = None if parts is None else Path(parts)
    return load_foreign(path, place, getattr(torch, dtype), folder, predicts)
