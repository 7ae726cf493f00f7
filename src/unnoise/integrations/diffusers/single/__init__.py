"""Read a single file of a foreign model: recognised by its tensors, renamed by diffusers' converters.

Converters only rename and split, so tensors stay mapped to the file. Configs come from shapes and from tables in the
code; nothing is downloaded.
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
from unnoise.integrations.diffusers.single.split import PREFIX, Split, Tensors, merged_config
from unnoise.integrations.diffusers.single.tokenizers import find_tokenizers
from unnoise.integrations.diffusers.source import CheckpointSource, NetworkSource, read_folder
from unnoise.integrations.diffusers.table import ADAPTERS, SPLITTERS

# Prefixes that only one layout has, which identify models of unpublished widths.
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


def read_file(path: Path, components: Path | None = None, shapes: bool = False) -> CheckpointSource:
    """Read the source of a single file.

    Args:
        path: the file.
        components: a diffusers folder with the components that the file lacks.
        shapes: only the shapes of tensors, if no weights are needed.

    Raises:
        InputError: the file is not recognised, or its family has no converter.
    """
    mapped = map_tensors([path])
    identity = _identity(path, mapped)
    split: Split = import_module(f"unnoise.integrations.diffusers.single.{SPLITTERS[identity.family]}").split
    tensors: Tensors = mapped.tensors
    if shapes:
        tensors = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
    found = split(tensors, identity, str(path))
    rest = None if components is None else read_folder(components)
    if rest is not None and rest.identity.family != identity.family:
        raise InputError(f"components {components}: of {rest.identity}; {path} is {identity} ({identity.known_by})")
    others = {} if rest is None else rest.networks
    networks = {}
    for name, cut in found.items():
        same = name in others and others[name].class_ == cut.class_
        config = merged_config(cut, others[name].config) if same else cut.config
        networks[name] = NetworkSource(cut.class_, config, _loader(cut.tensors, mapped))
    networks = {**others, **networks}
    return CheckpointSource(
        where=str(path),
        name=path.stem,
        identity=identity,
        networks=networks,
        tokenizers=find_tokenizers(path, identity) if rest is None else rest.tokenizers,
        configs={name: net.config for name, net in networks.items()},
    )


def _loader(tensors: Mapping[str, Tensor], mapped: Mapped) -> Callable[[], tuple[Mapping[str, Tensor], Any]]:
    return lambda: (tensors, mapped.release)


def _identity(path: Path, mapped: Mapped) -> Identity:
    found = recognise(mapped.entries, mapped.metadata)
    if found.family == UNKNOWN:
        found = _by_layout(mapped)
    if found.family == UNKNOWN:
        raise InputError(f"{path}: not recognised by its {len(mapped.entries)} tensors; {_description(mapped)}")
    if found.family not in ADAPTERS or found.family not in SPLITTERS:
        raise InputError(
            f"{path}: {found} (by {found.known_by}) is not supported as a single file; supported are "
            f"{', '.join(SPLITTERS)}"
        )
    return refined(found, by_name(path.name))


def _by_layout(mapped: Mapped) -> Identity:
    names = [name.removeprefix(PREFIX) for name in mapped.entries]
    for family, variant, start in LAYOUTS:
        if any(name.startswith(start) for name in names):
            prediction = "v" if "v_pred" in mapped.entries else ""
            return Identity(family, variant, prediction, "ztsnr" in mapped.entries, f"tensors {start}*")
    return Identity()


def _description(mapped: Mapped) -> str:
    """Describe an unknown file."""
    lora = read_lora(mapped.entries, mapped.metadata)
    if lora is not None and lora.modules:
        base = base_of(lora, mapped.metadata)
        return f"it is a LoRA of {len(lora.modules)} layers{f' for {base}' if base.known else ''}, not a model"
    return f"the first tensors are {', '.join(sorted(mapped.entries)[:3])}"
