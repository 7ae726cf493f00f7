"""What a folder or a file offers, before any network is made: classes, configs, and tensors that are not read yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name
from unnoise.families.tensors import recognise, refined
from unnoise.formats.header import read_header
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.folder import components, configs, tokenizers, weight_files
from unnoise.integrations.diffusers.table import ADAPTERS, DENOISERS, NETWORKS


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Hold one network to be made.

    tensors: gives its weights by name, and a call that gives back the memory of reading them.
    """

    class_: str
    config: Mapping[str, Any]
    tensors: Callable[[], tuple[Mapping[str, Tensor], Callable[[], None]]]


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointSource:
    """Hold what a model is to be made from. configs: as in `Parts`, also of what is no network."""

    where: str
    name: str
    identity: Identity
    pieces: Mapping[str, Piece]
    tokenizers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_folder(folder: Path) -> CheckpointSource:
    """Read what a diffusers folder offers. Raises InputError where it is damaged, or holds what is not known."""
    classes = components(folder)
    read = configs(folder, classes)
    classes = {name: _current(made, read.get(name, {})) for name, made in classes.items()}
    files = {name: weight_files(folder, name) for name, made in classes.items() if made in NETWORKS}
    pieces = {name: Piece(classes[name], read[name], _mapped(paths)) for name, paths in files.items()}
    net = next((name for name in DENOISERS if name in pieces), None)
    if net is None:
        raise InputError(f"{folder}: has neither of {' and '.join(DENOISERS)}, only {', '.join(classes) or 'nothing'}")
    identity = _identity(folder, pieces, net, files[net])
    return CheckpointSource(str(folder), folder.resolve().name, identity, pieces, tokenizers(folder, classes), read)


def _current(made: str, config: Mapping[str, Any]) -> str:
    """Give the class that a network of an older folder has today: PixArt-alpha was a Transformer2DModel once."""
    old = made == "Transformer2DModel" and config.get("norm_type") == "ada_norm_single"
    return "PixArtTransformer2DModel" if old else made


def _mapped(paths: list[Path]) -> Callable[[], tuple[Mapping[str, Tensor], Callable[[], None]]]:
    def read() -> tuple[Mapping[str, Tensor], Callable[[], None]]:
        mapped = map_tensors(paths)
        return mapped.tensors, mapped.release

    return read


def _identity(folder: Path, pieces: Mapping[str, Piece], net: str, files: list[Path]) -> Identity:
    """Tell the family by tensors where their widths are published ones, else by the class and config of the network."""
    entries = {name: entry for path in files for name, entry in read_header(path).tensors.items()}
    shown = recognise(entries, {})
    if shown.family not in ADAPTERS:
        shown = of_class(pieces, net)
    if shown.family not in ADAPTERS:
        raise InputError(
            f"{folder}: {net} is a {pieces[net].class_}, a family that cannot be run: {', '.join(ADAPTERS)}"
        )
    return refined(shown, by_name(folder.resolve().name))


def of_class(pieces: Mapping[str, Piece], net: str) -> Identity:
    """Tell a family by the class of its network and what its config says."""
    made, config = pieces[net].class_, pieces[net].config
    if made != "UNet2DConditionModel":
        return by_class(made)
    known_by = f"class {made} and its config"
    if config.get("addition_embed_type") == "text_time":
        return Identity("sdxl", "base" if "text_encoder" in pieces else "refiner", known_by=known_by)
    channels = {9: "inpaint", 8: "pix2pix"}.get(config.get("in_channels", 4), "")
    variant = channels or ("lcm" if config.get("time_cond_proj_dim") else "")
    second = config.get("cross_attention_dim") == 1024 or config.get("use_linear_projection")
    return Identity("sd2" if second else "sd1", variant, known_by=known_by)
