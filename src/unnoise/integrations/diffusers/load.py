"""Make a model of a foreign model: networks without weights, then room for them, then the weights, then the rest."""

import hashlib
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
from unnoise.integrations.diffusers.components import TOKENIZED, Adapted, EmptyTokenizer, ForeignComponents
from unnoise.integrations.diffusers.onednn import pack
from unnoise.integrations.diffusers.probe import asked
from unnoise.integrations.diffusers.source import CheckpointSource, read_folder
from unnoise.integrations.diffusers.table import ADAPTERS, DENOISERS
from unnoise.integrations.diffusers.weights import fill
from unnoise.sampling.kinds import Kind
from unnoise.spaces.space import Space

QUICK = (*DENOISERS, "transformer_2", "vae")  # networks that keep blocked copies of their weights where there is room
ROOM = 0.8  # of the free memory that weights and copies may take, the rest is for activations
ELSEWHERE = "as its maker published it"
# Channels of an answer for each channel of the latents: FLUX packs 2 x 2 cells, PixArt adds the variance.
ANSWERS = {"FluxTransformer2DModel": 4, "PixArtTransformer2DModel": 2}


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    parts: Path | None = None,
    predicts: Kind | None = None,
    compiled: bool = False,
) -> Components:
    """Load a diffusers folder or a single file of a foreign model.

    dtype: of all weights; parts: a folder that has what a single file lacks; predicts: what the network answers with,
    where nothing says it; compiled: the block that the network repeats, at its first call. Raises InputError for what is
    damaged, incomplete or not known, and where memory is too small.
    """
    source = _source(path, parts, predicts)
    nets = _empty(source)
    quick = _room(source, nets, device, dtype)
    fingerprint = _filled(source, nets, dtype, device)
    for name in QUICK if quick else ():
        if name in nets:
            pack(nets[name])
    for name in DENOISERS if compiled else ():
        if name in nets:
            nets[name].compile_repeated_blocks()  # type: ignore[operator]
    return _pipeline(_probed(source, nets), nets, fingerprint)


def components(
    path: Path, parts: Path | None = None, predicts: Kind | None = None
) -> tuple[ForeignComponents, Components]:
    """Load the parts of a model in the dtype in which they are stored, and the components that they make."""
    source = _source(path, parts, predicts)
    nets = _empty(source)
    fingerprint = _filled(source, nets, None, torch.device("cpu"))
    return _parts(source, nets), _pipeline(_probed(source, nets), nets, fingerprint)


def _probed(source: CheckpointSource, nets: Mapping[str, nn.Module]) -> CheckpointSource:
    """Add what the network says of its prediction, where nothing else says it."""
    told = source.configs.get("scheduler", {}).get("prediction_type")
    found = asked(source.identity.family, source.identity.prediction, told, nets)
    return replace(source, identity=replace(source.identity, prediction=found))


def meta(path: Path, parts: Path | None = None, predicts: Kind | None = None) -> Components:
    """Make the components of a foreign model on the meta device: what it is and costs, without weights."""
    source = _source(path, parts, predicts, shapes=True)
    source = replace(source, tokenizers=dict.fromkeys(TOKENIZED, EmptyTokenizer))
    nets = {name: net.to("meta") for name, net in _empty(source).items()}
    return _pipeline(source, {name: pack(net) if name in QUICK else net for name, net in nets.items()}, "")


def _source(path: Path, parts: Path | None, predicts: Kind | None, shapes: bool = False) -> CheckpointSource:
    if path.is_dir():
        if parts is not None:
            raise InputError(f"parts {str(parts)!r}: for a single file, and {path} is a folder with parts of its own")
        source = read_folder(path)
    else:
        from unnoise.integrations.diffusers.single import read_file

        source = read_file(path, parts, shapes)
    if predicts is not None:
        plain = {**source.configs, "scheduler": {**source.configs.get("scheduler", {}), "prediction_type": None}}
        source = replace(source, identity=replace(source.identity, prediction=predicts), configs=plain)
    return source


def _filled(
    source: CheckpointSource, nets: Mapping[str, nn.Module], dtype: torch.dtype | None, device: torch.device
) -> str:
    """Give networks their weights and return the fingerprint of all."""
    sums = {}
    for name, net in nets.items():
        tensors, release = source.pieces[name].tensors()
        sums[name] = fill(net, tensors, f"{source.where}: {name}", dtype, device, release)
    return _fingerprint(sums)


def _parts(source: CheckpointSource, nets: Mapping[str, nn.Module]) -> ForeignComponents:
    return ForeignComponents(source.where, source.identity, nets, source.tokenizers, source.configs)


def _empty(source: CheckpointSource) -> dict[str, nn.Module]:
    return {name: empty(piece.class_, piece.config, f"{source.where}: {name}") for name, piece in source.pieces.items()}


def _room(source: CheckpointSource, nets: Mapping[str, nn.Module], device: torch.device, dtype: torch.dtype) -> bool:
    """Say whether there is room for blocked copies of weights on the CPU. Raises InputError where not even they fit."""
    count = {name: sum(value.numel() for value in net.parameters()) for name, net in nets.items()}
    needed = sum(count.values()) * dtype.itemsize
    half = "" if dtype.itemsize < 4 else f"in bfloat16 it needs {size(needed / 2)}: dtype bfloat16"
    check_room(needed, device, f"{source.where}, in {str(dtype).removeprefix('torch.')}", half)
    if device.type != "cpu":
        return False
    copies = sum(count[name] for name in QUICK if name in count) * dtype.itemsize
    free = available(device)
    return free is None or needed + copies < ROOM * free


def _pipeline(source: CheckpointSource, nets: Mapping[str, nn.Module], fingerprint: str) -> Components:
    adapt = import_module(f"unnoise.integrations.diffusers.{ADAPTERS[source.identity.family]}").adapt
    _check_channels(source)
    made: Adapted = adapt(_parts(source, nets))
    card = _card(source, made, fingerprint)
    return Components(
        card, Denoiser(made.net, made.process, made.kind), made.space, made.text, made.image_conditioner, nets
    )


def _check_channels(source: CheckpointSource) -> None:
    """Raise InputError where the autoencoder's latents are not what the network answers with: it is of another family."""
    name = next(name for name in DENOISERS if name in source.pieces)
    net, latents = source.pieces[name], source.configs.get("vae", {}).get("latent_channels")
    answers = net.config.get("out_channels") or net.config.get("in_channels")
    if latents is not None and answers is not None and answers != latents * ANSWERS.get(net.class_, 1):
        raise InputError(
            f"{source.where}: {name} answers with {answers} channels, which latents of {latents} channels do not fit: "
            f"its vae is of another family"
        )


def _card(source: CheckpointSource, made: Adapted, fingerprint: str) -> Card:
    classes = {name: piece.class_ for name, piece in source.pieces.items()}
    texts = [made for name, made in classes.items() if name.startswith("text_encoder")]
    return Card(
        name=source.name,
        net=Part(next(classes[name] for name in DENOISERS if name in classes)),
        process=_part(made.process),
        kind=made.kind,
        space=_space(made.space),
        advice=made.advice,
        licence=ELSEWHERE,
        autoencoder=Part(classes["vae"]) if "vae" in classes else None,
        text=Part(texts[0], {"encoders": texts}) if texts else None,
        tokenizer=Part("Tokenizer") if texts else None,
        fingerprint=fingerprint,
        family=source.identity.family,
        variant=source.identity.variant,
        modality=made.modality,
    )


def _part(made: Any) -> Part:
    return Part(type(made).__name__, asdict(made))


def _space(made: Space) -> Part:
    affine = getattr(made, "affine", None)
    args = {} if affine is None else {"shift": list(affine.shift), "scale": list(affine.scale)}
    return Part(type(made).__name__, args)


def _fingerprint(sums: Mapping[str, str]) -> str:
    """Join the fingerprints of networks: of names, shapes and the first numbers of every tensor, not of all."""
    return hashlib.sha256("\n".join(f"{name} {sums[name]}" for name in sorted(sums)).encode()).hexdigest()
