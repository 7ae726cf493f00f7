"""Load a model, whoever made it: by name, from a file of this program, from a diffusers folder or a foreign file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from unnoise.card import KEY, OWN
from unnoise.embedded import CONTROLS, find
from unnoise.errors import InputError, nearest
from unnoise.formats.header import read_header
from unnoise.generation.limits import DTYPES
from unnoise.model_file import known_device, load as load_own, meta as own_meta
from unnoise.pipeline import Pipeline


def load(
    model: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    dtype: str = "float32",
    parts: str | os.PathLike[str] | None = None,
    predicts: Literal["eps", "v"] | None = None,
    compiled: bool = False,
    control: str | os.PathLike[str] | None = None,
    look: Sequence[str | os.PathLike[str]] | None = None,
) -> Pipeline:
    """Load a model by its name in the zoo, from its file, or from a diffusers folder.

    dtype: of the weights, "float32", "bfloat16" or "float16"; parts: a diffusers folder that has what a foreign single
    file lacks, such as text encoders and tokenizers; predicts: what a foreign network answers with, where its file does
    not say; compiled: compile the block that a foreign network repeats, which takes a minute at its first call;
    control: the name or file of a control that follows a hint; look: the file of an IP-Adapter and the folder of its
    image encoder, which resemble a picture. Raises InputError for what is unknown, damaged or incomplete, and for
    arguments that cannot act.
    """
    path = find(model)
    place = known_device(device)
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: {nearest(dtype, DTYPES)}")
    if not path.is_dir() and KEY in read_header(path).metadata:
        given = {"dtype": dtype, "parts": parts, "predicts": predicts, "compiled": compiled}
        for name, value in given.items():
            if value not in ("float32", None, False):
                raise InputError(
                    f"{name} {str(value)!r}: for models of other makers; {path} has all it needs in float32"
                )
        if look is not None:
            raise InputError(f"look: an IP-Adapter is for models of other makers, and {path} was made here")
        pipeline = load_own(path, place)
    else:
        from unnoise.integrations.diffusers.load import load as load_foreign

        folder = None if parts is None else Path(parts)
        pipeline = load_foreign(path, place, getattr(torch, dtype), folder, predicts, compiled)
    return _beside(pipeline, control, look)


def _beside(
    pipeline: Pipeline, control: str | os.PathLike[str] | None, look: Sequence[str | os.PathLike[str]] | None
) -> Pipeline:
    """Put a control beside the network of a model, or what reads a picture to be resembled, or both."""
    if control is not None and pipeline.card.family == OWN:
        from unnoise.adapters.controlnet import controlled

        return controlled(pipeline, find(control, CONTROLS))
    if control is not None:
        from unnoise.integrations.diffusers.controlnet import controlled as foreign

        pipeline = foreign(pipeline, Path(control))
    if look is None:
        return pipeline
    from unnoise.integrations.diffusers.ip_adapter import looking

    if len(look) != 2:
        raise InputError(f"look {list(map(str, look))}: an IP-Adapter's file, and the folder of its image encoder")
    return looking(pipeline, Path(look[0]), Path(look[1]))


def meta(
    model: str | os.PathLike[str],
    *,
    parts: str | os.PathLike[str] | None = None,
    predicts: Literal["eps", "v"] | None = None,
) -> Pipeline:
    """Make the pipeline of a model on the meta device: what it is and costs, without weights.

    Arguments are those of `load`. Raises InputError for what is unknown, incomplete or not sound.
    """
    path = find(model)
    if not path.is_dir() and KEY in read_header(path).metadata:
        if parts is not None or predicts is not None:
            raise InputError(f"parts and predicts: for models of other makers; {path} has all it needs")
        return own_meta(path)
    from unnoise.integrations.diffusers.load import meta as foreign_meta

    return foreign_meta(path, None if parts is None else Path(parts), predicts)
