"""Find the autoencoder of a foreign model: in its folder, in a folder of its own, or in a single file."""

from pathlib import Path
from typing import Any

import torch

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.formats.diffusers_folder import CONFIG, INDEX, listed_components, weight_files
from unnoise.formats.json_text import read_json
from unnoise.formats.mmap import map_tensors
from unnoise.formats.quantised import open_weights
from unnoise.integrations.diffusers.autoencoder_kl import CODECS
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.config import checked_config
from unnoise.integrations.diffusers.single import read_file
from unnoise.integrations.diffusers.single.ldm import VAES, autoencoder
from unnoise.integrations.diffusers.source import NetworkSource
from unnoise.integrations.diffusers.weights import fill

VAE = "vae"


def read_autoencoder(path: Path) -> NetworkSource:
    """Read the source of an image autoencoder.

    Args:
        path: a diffusers folder, the folder of its autoencoder alone, or a single file of a model or an autoencoder.

    Raises:
        InputError: there is none, or it is of a class that is no image autoencoder.
    """
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if found.class_ not in CODECS:
        raise InputError(f"{path}: its autoencoder is a {found.class_}; images need one of {', '.join(CODECS)}")
    return found


def load_autoencoder(path: Path, device: torch.device) -> Any:
    """Load the network of `read_autoencoder`, with float32 weights, as a codec. Raises InputError as it does."""
    source = read_autoencoder(path)
    net = empty(source.class_, source.config, f"{path}: {VAE}")
    tensors, release = source.tensors()
    fill(net, tensors, f"{path}: {VAE}", torch.float32, device, release)
    return CODECS[source.class_](net)


def _of_folder(folder: Path) -> NetworkSource:
    if (folder / INDEX).is_file():
        listed = listed_components(read_json(folder / INDEX, folder))
        if VAE not in listed:
            raise InputError(f"{folder}: has no autoencoder; it has {', '.join(listed) or 'no components'}")
        return _component(folder, VAE, listed[VAE][1])
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: no model in the layout of diffusers: it has neither {INDEX} nor {CONFIG}")
    return _component(folder.parent, folder.name, "")


def _component(folder: Path, name: str, listed: str) -> NetworkSource:
    """Read one component. listed: its class by the index of the folder, empty where there is no index."""
    place = folder / name / CONFIG
    config = read_json(place, folder)
    class_ = listed or str(config.get("_class_name"))
    if class_ not in CODECS:
        return NetworkSource(class_, {}, lambda: ({}, lambda: None))
    mapped = map_tensors(weight_files(folder, name))
    return NetworkSource(class_, checked_config(class_, config, str(place)), lambda: (mapped.tensors, mapped.release))


def _of_file(path: Path) -> NetworkSource:
    names = open_weights(path).header.tensors
    if any(name.startswith(("encoder.down.", *(f"{start}encoder.down." for start in VAES))) for name in names):
        alone = "decoder.conv_in.weight" in names
        mapped = map_tensors([path])
        tensors = {f"{VAE}.{name}": value for name, value in mapped.tensors.items()} if alone else mapped.tensors
        cut = autoencoder(tensors, Identity())[VAE]
        return NetworkSource(cut.class_, cut.config, lambda: (cut.tensors, mapped.release))
    if any(name.startswith(("encoder.", "decoder.")) for name in names):
        raise InputError(f"{path}: an autoencoder without its config; name the folder that has both")
    networks = read_file(path).networks
    if VAE not in networks:
        raise InputError(f"{path}: has no autoencoder; it has {', '.join(networks)}")
    return networks[VAE]
