"""The source of a foreign model, before a network is built: classes, configs, and tensors that are not read yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name
from unnoise.families.tensors import recognise, refined
from unnoise.formats.diffusers_folder import weight_files
from unnoise.formats.header import read_header
from unnoise.formats.mmap import map_tensors
from unnoise.integrations.diffusers.folder import component_classes, read_configs, tokenizers
from unnoise.integrations.diffusers.table import ADAPTERS, DENOISERS, NETWORKS


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSource:
    """Hold what one network is built from.

    tensors: returns its weights by name, and a function that releases the memory of reading them.
    fingerprint: of the weights as they are stored, where the tensors are not stored as they are returned.
    """

    class_: str
    config: Mapping[str, Any]
    tensors: Callable[[], tuple[Mapping[str, Tensor], Callable[[], None]]]
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointSource:
    """Hold what a model is built from. tokenizers, configs: as in `ForeignComponents`."""

    where: str
    name: str
    identity: Identity
    networks: Mapping[str, NetworkSource]
    tokenizers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_folder(folder: Path) -> CheckpointSource:
    """Read the source of a diffusers folder. Raises InputError for a damaged folder and an unsupported component."""
    classes = component_classes(folder)
    configs = read_configs(folder, classes)
    classes = {name: _current(class_, configs.get(name, {})) for name, class_ in classes.items()}
    files = {name: weight_files(folder, name) for name, class_ in classes.items() if class_ in NETWORKS}
    networks = {name: NetworkSource(classes[name], configs[name], _mapped(paths)) for name, paths in files.items()}
    net = next((name for name in DENOISERS if name in networks), None)
    if net is None:
        raise InputError(f"{folder}: has no {' or '.join(DENOISERS)}; it has {', '.join(classes) or 'no components'}")
    identity = _identity(folder, networks, net, files[net])
    return CheckpointSource(
        str(folder), folder.resolve().name, identity, networks, tokenizers(folder, classes), configs
    )


def _current(class_: str, config: Mapping[str, Any]) -> str:
    """Return the current class of a network in an older folder: PixArt-alpha was a Transformer2DModel."""
    old = class_ == "Transformer2DModel" and config.get("norm_type") == "ada_norm_single"
    return "PixArtTransformer2DModel" if old else class_


def _mapped(paths: list[Path]) -> Callable[[], tuple[Mapping[str, Tensor], Callable[[], None]]]:
    def read() -> tuple[Mapping[str, Tensor], Callable[[], None]]:
        mapped = map_tensors(paths)
        return mapped.tensors, mapped.release

    return read


def _identity(folder: Path, networks: Mapping[str, NetworkSource], net: str, files: list[Path]) -> Identity:
    """Recognise the family by tensors of published widths, else by the class and config of the network."""
    entries = {name: entry for path in files for name, entry in read_header(path).tensors.items()}
    found = recognise(entries, {})
    if found.family not in ADAPTERS:
        found = of_class(networks, net)
    if found.family not in ADAPTERS:
        raise InputError(
            f"{folder}: {net} is a {networks[net].class_}, of an unsupported family; supported: {', '.join(ADAPTERS)}"
        )
    return refined(found, by_name(folder.resolve().name))


def of_class(networks: Mapping[str, NetworkSource], net: str) -> Identity:
    """Recognise a family by the class and config of its network."""
    class_, config = networks[net].class_, networks[net].config
    if class_ != "UNet2DConditionModel":
        return by_class(class_)
    known_by = f"class {class_} and its config"
    if config.get("addition_embed_type") == "text_time":
        return Identity("sdxl", "base" if "text_encoder" in networks else "refiner", known_by=known_by)
    channels = {9: "inpaint", 8: "pix2pix"}.get(config.get("in_channels", 4), "")
    variant = channels or ("lcm" if config.get("time_cond_proj_dim") else "")
    second = config.get("cross_attention_dim") == 1024 or config.get("use_linear_projection")
    return Identity("sd2" if second else "sd1", variant, known_by=known_by)
