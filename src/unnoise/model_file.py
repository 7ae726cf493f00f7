"""One file is one model: the card in the header; the tensors of net, autoencoder and text under their prefixes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from unnoise.card import CLASSES, KEY, Card, Part, read_card, to_json
from unnoise.components import Components
from unnoise.devices import known_device
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.embedded import find
from unnoise.errors import InputError, NonFiniteError
from unnoise.formats import eight_bit
from unnoise.formats.arguments import check_arguments
from unnoise.formats.eight_bit import SCALE
from unnoise.formats.header import Header, read_header
from unnoise.formats.tensors import DTYPES, Fingerprint, read_tensors, write_tensors
from unnoise.text.encode import PromptEncoder, TextConditioner
from unnoise.text.labels import LabelEncoder

WEIGHTS = ("F16", "BF16", "F32", "F64", "I8")  # dtypes of stored weights
BUILD_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError)


def load(model: str | os.PathLike[str], device: str | torch.device = "cpu") -> Components:
    """Load an embedded model by name or a model file, with float32 weights.

    Raises InputError for an unknown name, an invalid file, and weights that do not match the fingerprint of the card.
    """
    path, place = find(model), known_device(device)
    header = read_header(path)
    components = meta(path, header)
    _fill(components, path, header, place)
    _try(components, place, str(path))
    return components


def meta(path: Path, header: Header | None = None) -> Components:
    """Build the components of a model file on the meta device, without weights.

    Raises InputError for an invalid file.
    """
    header = header or read_header(path)
    card = read_card(path, header)
    with _at_most(len(header.tensors)):
        components = _make(card, str(path), "meta")
    _match(components, header, str(path))
    for net in components.networks().values():
        net.requires_grad_(False).eval()
    return components


def save(path: str | os.PathLike[str], components: Components, dtype: torch.dtype = torch.float16) -> Card:
    """Write a model file atomically and return its card with the fingerprint of the stored weights.

    dtype: of the weights; int8 is 8 bits with a scale for each row, see `formats.eight_bit`.

    Raises InputError if a weight is not finite in `dtype`, or the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for role, module in components.networks().items():
        for name, tensor in module.state_dict().items():
            tensors |= _stored(f"{role}.{name}", tensor.detach().cpu(), dtype)
    fingerprint = Fingerprint()
    for name in sorted(tensors):
        fingerprint.add(name, tensors[name])
    card = replace(components.card, fingerprint=fingerprint.hex())
    write_tensors(path, tensors, {"format": "pt", KEY: to_json(card)})
    return card


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the tensors of a file for one of a network. Raises InputError if a weight is not finite in `dtype`."""
    if not tensor.is_floating_point():
        return {name: tensor}
    stored = eight_bit.packed(name, tensor) if dtype == torch.int8 else {name: tensor.to(dtype)}
    for part in stored.values():
        if part.is_floating_point() and not part.isfinite().all():
            raise InputError(f"tensor {name} is not finite in {part.dtype}")
    return stored


def stored_dtype(path: str | os.PathLike[str]) -> torch.dtype:
    """Return the dtype that a model file was saved in: of its largest tensor."""
    entries = read_header(path).tensors.values()
    return DTYPES[max(entries, key=lambda entry: entry.end - entry.start).dtype]


def build(card: Card, device: str = "cpu") -> Components:
    """Build the components of a card with new weights. Raises InputError for arguments that do not work."""
    return _make(card, "card", device)


def _make(card: Card, where: str, device: str) -> Components:
    process = _part("process", card.process, where)
    tokenizer = _part("tokenizer", card.tokenizer, where) if card.tokenizer else None
    with torch.device(device), _Blank() if device == "meta" else nullcontext():
        net = _part("net", card.net, where)
        extra = {"autoencoder": _part("autoencoder", card.autoencoder, where)} if card.autoencoder else {}
        text: TextConditioner | None = LabelEncoder(card.labels, net) if card.labels else None
        if card.text and tokenizer:
            text = PromptEncoder(tokenizer, _part("text", card.text, where))
        small = _part("preview", card.preview, where) if card.preview else None
    space = _part("space", card.space, where, extra)
    return Components(card, Denoiser(net, process, card.kind), space, text, small_decoder=small)


class _Blank(TorchFunctionMode):
    """Skip the initial values of networks on the meta device, for which torch would import its compiler.

    Random numbers and scaling are skipped; what remains is `torch.empty`, which needs no import.
    """

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.randn, torch.rand):
            return torch.empty(*args, **kwargs)
        fills = getattr(func, "__module__", None) == "torch.nn.init" or func in (Tensor.normal_, Tensor.uniform_)
        if fills or (func is Tensor.mul and isinstance(args[1], int | float)):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _part(role: str, part: Part, where: str, extra: Mapping[str, object] | None = None) -> Any:
    module, name = CLASSES[role][part.class_].split(":")
    constructor = getattr(import_module(module), name)
    with _explained(where, f"{role} {part.class_}"):
        check_arguments(constructor, part.args, extra or {})
        return constructor(**{name: _tuples(value) for name, value in part.args.items()}, **(extra or {}))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@contextmanager
def _explained(where: str, what: str) -> Iterator[None]:
    try:
        yield
    except NonFiniteError:
        raise
    except BUILD_ERRORS as error:
        raise InputError(f"{where}: {what} of the card: {str(error).partition(chr(10))[0]}") from None


@contextmanager
def _at_most(tensors: int) -> Iterator[None]:
    """Stop building networks with many more parameters than the file has tensors, before they fill the memory."""
    count = 0

    def check(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += parameter is not None
        if count > 1000 + 2 * tensors:
            raise InputError(f"the networks need more than {count} tensors, the file has {tensors}")

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _match(components: Components, header: Header, where: str) -> None:
    """Raise InputError unless the file has exactly the tensors of the networks."""
    needed = {
        f"{role}.{name}": value
        for role, net in components.networks().items()
        for name, value in net.state_dict().items()
    }
    narrow = {name for name, entry in header.tensors.items() if entry.dtype == "I8"} & needed.keys()
    for fault, names in (
        ("missing", (needed.keys() | {name + SCALE for name in narrow}) - header.tensors.keys()),
        ("unexpected", header.tensors.keys() - needed.keys() - {name + SCALE for name in narrow}),
    ):
        if names:
            first = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            raise InputError(f"{where}: {len(names)} {fault} tensors of the card's networks: {first}")
    for name, value in needed.items():
        entry = header.tensors[name]
        if entry.shape != tuple(value.shape):
            raise InputError(f"{where}: tensor {name!r} is {list(entry.shape)}, the network needs {list(value.shape)}")
        if value.is_floating_point() and entry.dtype not in WEIGHTS:
            raise InputError(f"{where}: tensor {name!r} is {entry.dtype}, weights must be one of {', '.join(WEIGHTS)}")
        if name in narrow and value.is_floating_point():
            scale = header.tensors[name + SCALE]
            if len(entry.shape) < 2 or scale.shape != entry.shape[:1] or scale.dtype != "F32":
                raise InputError(
                    f"{where}: tensor {name + SCALE!r} is {scale.dtype} {list(scale.shape)}; a scale for each row "
                    f"is needed: F32 {list(entry.shape[:1])}"
                )


def _fill(components: Components, path: Path, header: Header, device: torch.device) -> None:
    """Load the weights one by one as float32; integers keep their dtype."""
    states: dict[str, dict[str, Tensor]] = {role: {} for role in components.networks()}
    fingerprint = Fingerprint()
    for name, stored in read_tensors(path, header):
        fingerprint.add(name, stored)
        role, _, inner = name.partition(".")
        whole = inner.removesuffix(SCALE)
        if whole != inner and whole in states[role]:  # the scales of a tensor come right behind it
            states[role][whole] = eight_bit.dequantise(states[role][whole], stored.to(device))
            continue
        dtype = torch.float32 if stored.is_floating_point() else stored.dtype
        states[role][inner] = stored.to(device, dtype, copy=True)
    if fingerprint.hex() != components.card.fingerprint:
        raise InputError(
            f"{path}: its weights have the fingerprint {fingerprint.hex()[:12]}, its card names "
            f"{components.card.fingerprint[:12] or 'none'}: the file is damaged"
        )
    for role, net in components.networks().items():
        net.load_state_dict(states.pop(role), assign=True)
        net.requires_grad_(False).eval()


def _try(components: Components, device: torch.device, where: str) -> None:
    """Raise InputError unless the components work together, by a small call of each."""
    side = 2 * components.factor
    with _explained(where, "the components"), torch.no_grad():
        x = torch.zeros(1, *components.space.shape(side, side), device=device)
        cond = Conditioning()
        if isinstance(components.text_encoder, PromptEncoder):
            cond = components.text_encoder(["", "ab"])[0]
            last = torch.tensor([[components.text_encoder.tokenizer.size - 1]], device=device)
            components.text_encoder.net(last, last >= 0)
        elif components.text_encoder is not None:
            cond = components.text_encoder([""])[0]
        if components.denoiser.takes_end:
            cond = replace(cond, end=torch.zeros(1, device=device))
        x0 = components.denoiser(x, torch.ones(1, device=device), cond)
        data, small = components.decode(x), components.decode(x, "small")
    if x0.shape != x.shape or data.shape[2:] != (side, side) or data.shape[1] not in (1, 3):
        raise InputError(
            f"{where}: the card's components do not match: x of shape {list(x.shape)} is decoded to {list(data.shape)}"
        )
    if small.shape != data.shape:
        raise InputError(
            f"{where}: preview of the card: decodes to {list(small.shape)}, and the autoencoder to {list(data.shape)}"
        )
