"""Read a LoRA file for a model: its layout, the layers that it changes, and its scales."""

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.adapters.lora.compatibility import LoraCard, check_compatibility, read_lora_card
from unnoise.adapters.lora.delta import Delta, FullDelta, Replacement, bias_rows, rows
from unnoise.adapters.lora.experts import contradiction, network_of
from unnoise.adapters.lora.modules import Change, change_of
from unnoise.adapters.lora.names import LoraTarget, Names
from unnoise.adapters.lora.scales import Scales, read_scales
from unnoise.adapters.lora.targets import is_norm
from unnoise.components import Components
from unnoise.errors import InputError, InputWarning
from unnoise.families.lora import Lora, grouped, read_lora
from unnoise.formats.header import Header, read_header
from unnoise.formats.tensors import Fingerprint, read_tensors

MARKER = "scaled_fp8"  # a tensor without values, by which ComfyUI marks files of fp8 with scales
FEW = 3  # names that a message lists


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Hold the changes of an adapter for one model.

    Args:
        name: of its file.
        deltas: the change of each layer "root.path".
        fingerprint: of its tensors as stored.
        about: its card, if this program wrote it.
        notes: warnings for the user.
        file: its path, "" if it was not read from a file.
        ranks: of each layer, as stored.
        biases: the change of each layer's bias, where there is one.
        network: the only network that it is applied to, where the names in the file do not say it.
    """

    name: str
    deltas: Mapping[str, Delta]
    fingerprint: str = ""
    about: LoraCard | None = None
    notes: tuple[str, ...] = ()
    file: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    biases: Mapping[str, Tensor] = field(default_factory=dict)
    network: str = ""


def read(path: str | os.PathLike[str], components: Components, *, partial: bool = False, network: str = "") -> Adapter:
    """Read an adapter for a model.

    Args:
        path: the file.
        components: the model.
        partial: accept a file of which only some modules fit.
        network: the only network that it is applied to, such as "transformer_2"; "" is what the file says.

    Raises:
        InputError: the file is not a LoRA or is for another family, contains NaN or a module of rank 0, has modules
            that fit nothing in the model, or does not say which of two networks it is for.
    """
    header = read_header(Path(path))
    name = Path(path).name
    lora = read_lora(header.tensors, header.metadata)
    if lora is None or not lora.modules:
        raise InputError(
            f"{path}: not a LoRA: none of its {len(header.tensors)} tensors belongs to a known kind of module"
        )
    notes = check_compatibility(name, lora, dict(header.metadata), components.card)
    roots = components.adaptable()
    applied = network_of(Path(path), lora.modules, header.metadata, roots, network)
    if contrary := contradiction(Path(path), header.metadata, network):
        notes.append(contrary)
    tensors, fingerprint = _read_tensors(path, header)
    scales = read_scales(Path(path), header.metadata)
    chosen = {applied: roots[applied]} if applied else roots
    found = _match(str(path), tensors, chosen, components.card.family, scales)
    _check_all(str(path), found, lora, components, partial)
    notes += _notes(name, found, components)
    card = read_lora_card(dict(header.metadata), name)
    return Adapter(name, found.deltas, fingerprint, card, tuple(notes), str(path), found.ranks, found.biases, applied)


def read_and_warn(path: str | os.PathLike[str], components: Components, **how: Any) -> Adapter:
    """Read an adapter as `read` does, and give its notes as warnings."""
    adapter = read(path, components, **how)
    for note in adapter.notes:
        warnings.warn(note, InputWarning, stacklevel=3)
    return adapter


def fingerprint_of(path: str | os.PathLike[str]) -> str:
    """Return the fingerprint of a file's tensors."""
    return _read_tensors(path, read_header(Path(path)))[1]


def _read_tensors(path: str | os.PathLike[str], header: Header) -> tuple[dict[str, Tensor], str]:
    """Read tensors, floating point in float32, and their fingerprint. Raises InputError for NaN or infinity."""
    tensors: dict[str, Tensor] = {}
    digest = Fingerprint()
    for key, stored in read_tensors(path, header):
        digest.add(key, stored)
        if key == MARKER:
            continue
        value = stored.to(torch.float32, copy=True) if stored.is_floating_point() else stored.clone()
        if not bool(value.isfinite().all()):
            raise InputError(f"{path}: tensor {key!r} contains NaN or infinity")
        tensors[key] = value
    return tensors, digest.hex()


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """What a file changes, by layer "root.path", and the modules that are worth a word."""

    deltas: dict[str, Delta] = field(default_factory=dict)
    biases: dict[str, Tensor] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    without_alpha: list[str] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)


def _match(
    where: str, tensors: Mapping[str, Tensor], roots: Mapping[str, nn.Module], family: str, scales: Scales
) -> _Matched:
    """Build the change of each module."""
    names = Names(roots, family)
    found = _Matched()
    groups = grouped(tensors)
    grouped_keys = {key for halves in groups.values() for key in halves.values()}
    found.unmatched.extend(key for key in tensors if key not in grouped_keys)
    for name, keys in groups.items():
        halves = {half: tensors[key] for half, key in keys.items()}
        targets = names.targets(name)
        if not targets or set(halves) == {"alpha"}:
            found.unmatched.append(name)
            continue
        change = change_of(f"{where}: {name}", name, halves, scales)
        if "alpha" not in halves and not scales.known and "down" in halves:
            found.without_alpha.append(name)
        if not change.factor:
            found.without_effect.append(name)
        for target in targets:
            _place(f"{where}: {name}", target, change, roots[target.root].get_submodule(target.layer), found)
    return found


def _place(where: str, target: LoraTarget, change: Change, module: nn.Module, found: _Matched) -> None:
    """Add the share of one layer in the change of a module. Raises InputError where it does not fit."""
    layer = f"{target.root}.{target.layer}"
    if layer in found.deltas.keys() | found.biases.keys():
        raise InputError(f"{where} changes {layer}, which another of its modules also changes")
    if change.weight is not None:
        part = change.weight if target.rows is None else rows(change.weight, *target.rows)
        _check_shape(where, layer, part, module)
        found.deltas[layer], found.ranks[layer] = part, change.rank
    if change.bias is not None:
        bias = change.bias if target.rows is None else bias_rows(change.bias, *target.rows)
        _check_bias(where, layer, bias, module)
        found.biases[layer] = bias


def _check_shape(where: str, layer: str, delta: Delta, module: nn.Module) -> None:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(f"{where}: {layer} has no weight")
    if is_norm(module) and not isinstance(delta, FullDelta | Replacement):
        raise InputError(f"{where}: {layer} is a norm, which only a difference or new values can change")
    try:
        delta.change(weight.new_empty(weight.shape, device="cpu"))
    except InputError as error:
        raise InputError(f"{where}: does not fit {layer}: {error}; it was made for another architecture") from None
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not match: {str(error).splitlines()[0]}") from None


def _check_bias(where: str, layer: str, bias: Tensor, module: Any) -> None:
    if is_norm(module) and getattr(module, "bias", None) is None:
        raise InputError(f"{where}: {layer} is a norm without a bias")
    if len(bias) != len(module.weight):
        raise InputError(
            f"{where}: does not fit {layer}: a bias of {len(bias)}, for {len(module.weight)} outputs; it was made for "
            f"another architecture"
        )


def _check_all(where: str, found: _Matched, lora: Lora, components: Components, partial: bool) -> None:
    total, unmatched = len(lora.modules), found.unmatched
    if not found.deltas and not found.biases:
        raise InputError(
            f"{where}: none of its {total} modules fits {components.card.name!r}: {first_names(unmatched)}"
        )
    if unmatched and not partial:
        raise InputError(
            f"{where}: {len(unmatched)} of {total + lora.strange} modules fit nothing in {components.card.name!r}: "
            f"{first_names(unmatched)}; --partial (partial=True) uses the others"
        )


def _notes(name: str, matched: _Matched, components: Components) -> list[str]:
    """Return warnings for the user."""
    found = []
    if matched.without_alpha:
        found.append(
            f"{name}: {len(matched.without_alpha)} modules have no alpha; the rank is used, so that the scale is 1"
        )
    if matched.without_effect:
        found.append(
            f"{name}: alpha is 0 in {len(matched.without_effect)} modules, which therefore change nothing: "
            f"{first_names(matched.without_effect)}"
        )
    if matched.unmatched:
        found.append(
            f"{name}: {len(matched.unmatched)} modules fit nothing and are ignored: {first_names(matched.unmatched)}"
        )
    layers = layers_of(components, matched.deltas)
    base = sum(layer.weight.numel() for layer in layers.values())
    count = sum(delta.count() for delta in matched.deltas.values())
    if count > base:
        found.append(f"{name}: has {count:,} parameters to change {base:,}: larger than the layers that it changes")
    return found


def layers_of(components: Components, layers: Iterable[str]) -> dict[str, Any]:
    """Return the modules that are named "root.path"."""
    roots = components.adaptable()
    found = {}
    for layer in layers:
        root, _, path = layer.partition(".")
        found[layer] = roots[root].get_submodule(path)
    return found


def first_names(names: Iterable[str]) -> str:
    """List the first few names."""
    ordered = sorted(names)
    return ", ".join(ordered[:FEW]) + (", ..." if len(ordered) > FEW else "")
