"""Read a single file of a foreign model: recognised by its tensors, renamed by diffusers' converters.

Converters only rename and split, so tensors stay mapped to the file. Configs come from shapes and from tables in the
code; nothing is downloaded.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import UNKNOWN, Identity
from unnoise.families.lora import base_of, read_lora
from unnoise.families.names import by_name
from unnoise.families.tensors import marked, recognise, refined, unwrapped
from unnoise.formats.header import Header
from unnoise.formats.mmap import Mapped, map_tensors
from unnoise.formats.quantised import WeightsFile, open_weights
from unnoise.integrations.diffusers.single.split import PREFIX, Cut, Split, Tensors, merged_config
from unnoise.integrations.diffusers.single.tokenizers import find_tokenizers
from unnoise.integrations.diffusers.single.training import read_markers, stated_resolution, stated_training
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


def read_file(
    path: Path,
    components: Path | None = None,
    shapes: bool = False,
    dtype: torch.dtype = torch.float32,
    decided: bool = False,
) -> CheckpointSource:
    """Read the source of a single file.

    Args:
        path: the file, safetensors or GGUF.
        components: a diffusers folder with the components that the file lacks.
        shapes: only the shapes of tensors, if no weights are needed.
        dtype: of tensors that have to be dequantised.
        decided: whether a person chose the prediction type.

    Raises:
        InputError: the file is not recognised, its family has no converter, or its statements contradict each other.
    """
    stored = open_weights(path)
    header = replace(stored.header, tensors=unwrapped(stored.header.tensors))
    identity, markers = _identity(path, header), read_markers(path, header)
    training = stated_training(path, identity, header, markers, decided)
    split: Split = import_module(f"unnoise.integrations.diffusers.single.{SPLITTERS[identity.family]}").split

    def divided(tensors: Mapping[str, Tensor]) -> Mapping[str, Cut]:
        return split(unwrapped(tensors) | markers, identity, str(path))

    rest = None if components is None else read_folder(components)
    if rest is not None and rest.identity.family != identity.family:
        raise InputError(f"components {components}: of {rest.identity}; {path} is {identity} ({identity.known_by})")
    others = {} if rest is None else rest.networks
    networks = {**others, **_networks(stored, divided, others, shapes, dtype)}
    return CheckpointSource(
        where=str(path),
        name=path.stem,
        identity=identity,
        networks=networks,
        tokenizers=find_tokenizers(path, identity) if rest is None else rest.tokenizers,
        configs={
            **{name: net.config for name, net in networks.items()},
            **({"scheduler": training} if training else {}),
            "": stated_resolution(path, header.metadata),
        },
    )


def _networks(
    stored: WeightsFile,
    divided: Callable[[Mapping[str, Tensor]], Mapping[str, Cut]],
    others: Mapping[str, NetworkSource],
    shapes: bool,
    dtype: torch.dtype,
) -> dict[str, NetworkSource]:
    """Return the networks of a file. divided: its networks by all of its tensors; others: those of a folder."""
    mapped = None if shapes or stored.quantised else map_tensors([stored.path])

    @cache
    def dequantised() -> Mapping[str, Cut]:
        return divided(stored.dequantised(dtype))

    networks = {}
    for name, cut in divided(stored.shapes() if mapped is None else mapped.tensors).items():
        same = name in others and others[name].class_ == cut.class_
        config = merged_config(cut, others[name].config) if same else cut.config
        if shapes or not stored.quantised:
            networks[name] = NetworkSource(cut.class_, config, _loader(cut.tensors, mapped))
        else:
            networks[name] = NetworkSource(cut.class_, config, _later(dequantised, name), stored.fingerprint())
    return networks


def _loader(tensors: Tensors, mapped: Mapped | None) -> Callable[[], tuple[Tensors, Any]]:
    return lambda: (tensors, _nothing if mapped is None else mapped.release)


def _later(read: Callable[[], Mapping[str, Cut]], name: str) -> Callable[[], tuple[Tensors, Any]]:
    return lambda: (read()[name].tensors, _nothing)


def _nothing() -> None:
    """Release no memory: nothing is mapped."""


def _identity(path: Path, header: Header) -> Identity:
    found = recognise(header.tensors, header.metadata)
    if found.family == UNKNOWN:
        found = _by_layout(header)
    if found.family == UNKNOWN:
        raise InputError(f"{path}: not recognised by its {len(header.tensors)} tensors; {_description(header)}")
    if found.family not in ADAPTERS or found.family not in SPLITTERS:
        raise InputError(
            f"{path}: {found} (by {found.known_by}) is not supported as a single file; supported are "
            f"{', '.join(SPLITTERS)}"
        )
    return refined(found, by_name(path.name))


def _by_layout(header: Header) -> Identity:
    names = [name.removeprefix(PREFIX) for name in header.tensors]
    for family, variant, start in LAYOUTS:
        if any(name.startswith(start) for name in names):
            found = Identity(family, variant, known_by=f"tensors {start}*")
            return marked(found, header.tensors, header.metadata)
    return Identity()


def _description(header: Header) -> str:
    """Describe an unknown file."""
    lora = read_lora(header.tensors, header.metadata)
    if lora is not None and lora.modules:
        base = base_of(lora, header.metadata)
        return f"it is a LoRA of {len(lora.modules)} layers{f' for {base}' if base.known else ''}, not a model"
    return f"the first tensors are {', '.join(sorted(header.tensors)[:3])}"
