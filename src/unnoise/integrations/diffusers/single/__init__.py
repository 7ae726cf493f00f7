"""Read a single file of a foreign model: recognised by its tensors, renamed by diffusers' own converters.

Converters only rename and cut, so tensors stay mapped to the file. Configs are from tables in the code, or read off the
shapes; nothing is fetched.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import UNKNOWN, Identity
from unnoise.families.lora import base_of, read_lora
from unnoise.families.names import by_name
from unnoise.families.tensors import recognise, refined
from unnoise.formats.mmap import Mapped, map_tensors
from unnoise.integrations.diffusers.single.split import Split, Tensors, agreed
from unnoise.integrations.diffusers.single.tokenizers import find_tokenizers
from unnoise.integrations.diffusers.source import CheckpointSource, Piece, read_folder
from unnoise.integrations.diffusers.table import ADAPTERS, SPLITTERS

# What a whole model is told by where its widths are not published ones: tensors that only its layout has.
LAYOUTS: tuple[tuple[str, str, str], ...] = (
    ("sdxl", "base", "conditioner.embedders.1.model."),
    ("sdxl", "refiner", "conditioner.embedders.0.model."),
    ("sd2", "", "cond_stage_model.model."),
    ("sd1", "", "cond_stage_model.transformer."),
    ("flux1", "", "double_blocks.0.img_attn."),
    ("sd3", "", "joint_blocks.0.context_block."),
    ("wan", "", "head.modulation"),
    ("sana", "", "blocks.0.mlp.depth_conv."),
    ("pixart", "", "t_block.1."),
    ("ltx", "", "patchify_proj."),
)
PREFIX = "model.diffusion_model."


def read_file(path: Path, parts: Path | None = None, shapes: bool = False) -> CheckpointSource:
    """Read what a single file offers, and from `parts`, a diffusers folder, what it lacks.

    shapes: of its tensors, only the shapes, for what needs no weights. Raises InputError where the file is not recognised,
    is no whole model, or its family has no converter.
    """
    mapped = map_tensors([path])
    identity = _identity(path, mapped)
    split: Split = import_module(f"unnoise.integrations.diffusers.single.{SPLITTERS[identity.family]}").split
    tensors: Tensors = mapped.tensors
    if shapes:
        tensors = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
    found = split(tensors, identity, str(path))
    rest = None if parts is None else read_folder(parts)
    if rest is not None and rest.identity.family != identity.family:
        raise InputError(f"parts {parts}: of {rest.identity}, and {path} is of {identity} ({identity.known_by})")
    others = {} if rest is None else rest.pieces
    pieces = {}
    for name, cut in found.items():
        alike = name in others and others[name].class_ == cut.class_
        config = agreed(cut, others[name].config) if alike else cut.config
        pieces[name] = Piece(cut.class_, config, _given(cut.tensors, mapped))
    every = {**others, **pieces}
    return CheckpointSource(
        where=str(path),
        name=path.stem,
        identity=identity,
        pieces=every,
        tokenizers=find_tokenizers(path, identity) if rest is None else rest.tokenizers,
        configs={name: piece.config for name, piece in every.items()},
    )


def _given(tensors: Mapping[str, Tensor], mapped: Mapped) -> Callable[[], tuple[Mapping[str, Tensor], Any]]:
    return lambda: (tensors, mapped.release)


def _identity(path: Path, mapped: Mapped) -> Identity:
    shown = recognise(mapped.entries, mapped.metadata)
    if shown.family == UNKNOWN:
        shown = _by_layout(mapped)
    if shown.family == UNKNOWN:
        raise InputError(f"{path}: not recognised among {len(mapped.entries)} tensors; {_looks(mapped)}")
    if shown.family not in ADAPTERS or shown.family not in SPLITTERS:
        raise InputError(
            f"{path}: {shown} by {shown.known_by}, which cannot be run from one file: {', '.join(SPLITTERS)}"
        )
    return refined(shown, by_name(path.name))


def _by_layout(mapped: Mapped) -> Identity:
    names = [name.removeprefix(PREFIX) for name in mapped.entries]
    for family, variant, start in LAYOUTS:
        if any(name.startswith(start) for name in names):
            prediction = "v" if "v_pred" in mapped.entries else ""
            return Identity(family, variant, prediction, "ztsnr" in mapped.entries, f"tensors {start}*")
    return Identity()


def _looks(mapped: Mapped) -> str:
    """Say what an unknown file looks like."""
    lora = read_lora(mapped.entries, mapped.metadata)
    if lora is not None and lora.modules:
        base = base_of(lora, mapped.metadata)
        return f"it is a LoRA of {len(lora.modules)} layers{f' for {base}' if base.known else ''}, no model"
    return f"the first are {', '.join(sorted(mapped.entries)[:3])}"
