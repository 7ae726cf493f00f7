"""Load a foreign model: build its networks without weights, check the memory, load the weights, adapt the rest."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unnoise.card import Card, Part
from unnoise.components import Components
from unnoise.devices import available, check_room, size
from unnoise.diffusion.denoiser import Denoiser
from unnoise.errors import InputError
from unnoise.integrations.diffusers.classes import empty
from unnoise.integrations.diffusers.compiled import compile_blocks
from unnoise.integrations.diffusers.components import TOKENIZED, AdaptedModel, EmptyTokenizer, ForeignComponents
from unnoise.integrations.diffusers.dtypes import AUTOENCODER, autoencoder_dtype
from unnoise.integrations.diffusers.onednn import pack
from unnoise.integrations.diffusers.probe import probe_prediction
from unnoise.integrations.diffusers.processes import WORDS, chosen, role_of
from unnoise.integrations.diffusers.source import CheckpointSource, read_folder
from unnoise.integrations.diffusers.table import ADAPTERS, DENOISERS
from unnoise.integrations.diffusers.weights import fill, joined
from unnoise.sampling.kinds import Kind
from unnoise.spaces.space import Space

COMPILED = (*DENOISERS, "transformer_2")
PACKED = (*COMPILED, AUTOENCODER)  # networks that cache blocked copies of their weights
ROOM = 0.8  # of the free memory, for weights and copies; the rest is for activations
LICENCE = "see the original publication"
# Output channels for each channel of the latents: FLUX packs 2 x 2 cells, PixArt adds the variance.
OUTPUTS = {"FluxTransformer2DModel": 4, "PixArtTransformer2DModel": 2}


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    components: Path | None = None,
    prediction_type: Kind | None = None,
    compiled: bool = False,
    vae_dtype: torch.dtype | None = None,
) -> Components:
    """Load a foreign model.

    Args:
        path: a diffusers folder or a single file.
        device: of the weights.
        dtype: of all weights, apart from layers that always stay in float32.
        components: a folder with the components that a single file lacks.
        prediction_type: of the network, if its files do not state it.
        compiled: compile the repeated blocks of the network at its first call.
        vae_dtype: of the autoencoder; None is float32 where it is known to overflow, else `dtype`.

    Raises:
        InputError: the model is damaged, incomplete or not supported, or does not fit into memory.
    """
    source = _source(path, components, prediction_type, dtype=dtype)
    nets = _empty(source)
    dtypes = dict.fromkeys(nets, dtype)
    own = autoencoder_dtype(source.configs.get(AUTOENCODER, {}), source.identity.family, dtype, vae_dtype)
    if AUTOENCODER in nets:
        dtypes[AUTOENCODER] = own
    packed = _check_memory(source, nets, device, dtypes)
    fingerprint = _filled(source, nets, dtypes, device)
    for name in PACKED if packed else ():
        if name in nets:
            pack(nets[name])
    for name in COMPILED if compiled else ():
        if name in nets:
            compile_blocks(nets[name])
    return _components(_probed(source, nets), nets, fingerprint)


def load_components(
    path: Path, components: Path | None = None, prediction_type: Kind | None = None
) -> tuple[ForeignComponents, Components]:
    """Load a model in its stored dtypes: its networks under diffusers' names, and its components."""
    source = _source(path, components, prediction_type)
    nets = _empty(source)
    fingerprint = _filled(source, nets, dict.fromkeys(nets), torch.device("cpu"))
    return _foreign(source, nets), _components(_probed(source, nets), nets, fingerprint)


def _probed(source: CheckpointSource, nets: Mapping[str, nn.Module]) -> CheckpointSource:
    """Add the prediction type by a test call, if no file states it."""
    stated = source.configs.get("scheduler", {}).get("prediction_type")
    found = probe_prediction(source.identity.family, source.identity.prediction, stated, nets)
    return replace(source, identity=replace(source.identity, prediction=found))


def meta(path: Path, components: Path | None = None, prediction_type: Kind | None = None) -> Components:
    """Build the components of a foreign model on the meta device, without weights."""
    source = _source(path, components, prediction_type, shapes=True)
    source = replace(source, tokenizers=dict.fromkeys(TOKENIZED, EmptyTokenizer))
    nets = {name: net.to("meta") for name, net in _empty(source).items()}
    return _components(source, {name: pack(net) if name in PACKED else net for name, net in nets.items()}, "")


def _source(
    path: Path,
    components: Path | None,
    prediction_type: Kind | None,
    shapes: bool = False,
    dtype: torch.dtype = torch.float32,
) -> CheckpointSource:
    if path.is_dir():
        if components is not None:
            raise InputError(f"components {str(components)!r}: for a single file only; {path} is a folder")
        source = read_folder(path)
    else:
        from unnoise.integrations.diffusers.single import read_file

        source = read_file(path, components, shapes, dtype, decided=prediction_type is not None)
    if prediction_type is None:
        return source
    stated = {"prediction_type": source.identity.prediction and WORDS[source.identity.prediction]}
    config = chosen(source.where, {**stated, **source.configs.get("scheduler", {})}, prediction_type)
    identity = replace(source.identity, prediction=prediction_type)
    index = {name: value for name, value in source.configs.get("", {}).items() if name != "scheduler"}
    return replace(source, identity=identity, configs={**source.configs, "": index, "scheduler": config})


def _filled(
    source: CheckpointSource,
    nets: Mapping[str, nn.Module],
    dtypes: Mapping[str, torch.dtype | None],
    device: torch.device,
) -> str:
    """Load the weights of all networks and return their fingerprint."""
    hashes = {}
    for name, net in nets.items():
        tensors, release = source.networks[name].tensors()
        filled = fill(net, tensors, f"{source.where}: {name}", dtypes[name], device, release)
        hashes[name] = source.networks[name].fingerprint or filled
    return joined(hashes)


def _foreign(source: CheckpointSource, nets: Mapping[str, nn.Module]) -> ForeignComponents:
    return ForeignComponents(source.where, source.identity, nets, source.tokenizers, source.configs)


def _empty(source: CheckpointSource) -> dict[str, nn.Module]:
    return {name: empty(net.class_, net.config, f"{source.where}: {name}") for name, net in source.networks.items()}


def _check_memory(
    source: CheckpointSource, nets: Mapping[str, nn.Module], device: torch.device, dtypes: Mapping[str, torch.dtype]
) -> bool:
    """Return whether blocked copies of the weights fit into memory. Raises InputError if the weights do not."""
    weights = {
        name: sum(value.numel() for value in net.parameters()) * dtypes[name].itemsize for name, net in nets.items()
    }
    needed, dtype = sum(weights.values()), next(dtypes[name] for name in DENOISERS if name in dtypes)
    half = "" if dtype.itemsize < 4 else f"in bfloat16 it needs {size(needed / 2)}: dtype bfloat16"
    check_room(needed, device, f"{source.where}, in {str(dtype).removeprefix('torch.')}", half)
    if device.type != "cpu":
        return False
    copies = sum(weights[name] for name in PACKED if name in weights)
    free = available(device)
    return free is None or needed + copies < ROOM * free


def _components(source: CheckpointSource, nets: Mapping[str, nn.Module], fingerprint: str) -> Components:
    adapt = import_module(f"unnoise.integrations.diffusers.{ADAPTERS[source.identity.family]}").adapt
    _check_channels(source)
    foreign = _foreign(source, nets)
    role_of(foreign)
    adapted: AdaptedModel = adapt(foreign)
    card = _card(source, adapted, fingerprint)
    return Components(
        card,
        Denoiser(adapted.net, adapted.process, adapted.kind),
        adapted.space,
        adapted.text,
        adapted.image_conditioner,
        nets,
        size_inputs=adapted.size_inputs,
    )


def _check_channels(source: CheckpointSource) -> None:
    """Raise InputError if the channels of denoiser and autoencoder differ: they are of different families."""
    name = next(name for name in DENOISERS if name in source.networks)
    net, latents = source.networks[name], source.configs.get("vae", {}).get("latent_channels")
    outputs = net.config.get("out_channels") or net.config.get("in_channels")
    if latents is not None and outputs is not None and outputs != latents * OUTPUTS.get(net.class_, 1):
        raise InputError(
            f"{source.where}: {name} has {outputs} output channels, its vae {latents} latent channels: they differ, "
            f"so the vae is of another family"
        )


def _card(source: CheckpointSource, adapted: AdaptedModel, fingerprint: str) -> Card:
    classes = {name: net.class_ for name, net in source.networks.items()}
    texts = [class_ for name, class_ in classes.items() if name.startswith("text_encoder")]
    return Card(
        name=source.name,
        net=Part(next(classes[name] for name in DENOISERS if name in classes)),
        process=_part(adapted.process),
        kind=adapted.kind,
        space=_space(adapted.space),
        advice=adapted.advice,
        licence=LICENCE,
        autoencoder=Part(classes["vae"]) if "vae" in classes else None,
        text=Part(texts[0], {"encoders": texts}) if texts else None,
        tokenizer=Part("Tokenizer") if texts else None,
        fingerprint=fingerprint,
        family=source.identity.family,
        variant=source.identity.variant,
        modality=adapted.modality,
    )


def _part(process: Any) -> Part:
    return Part(type(process).__name__, asdict(process))


def _space(space: Space) -> Part:
    affine = getattr(space, "affine", None)
    args = {} if affine is None else {"shift": list(affine.shift), "scale": list(affine.scale)}
    return Part(type(space).__name__, args)
