"""Read a LoRA file for a model: its layout, the layers that it changes, and its scales."""

import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unnoise.adapters.lora.compatibility import LoraCard, check_compatibility, read_lora_card
from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LoHa, LoKr, LowRank, rows
from unnoise.adapters.lora.names import Names
from unnoise.components import Components
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError, check_number, quoted
from unnoise.families.lora import Lora, grouped, read_lora
from unnoise.formats.header import read_header
from unnoise.formats.json_text import json_object, read_json
from unnoise.formats.tensors import Fingerprint, read_tensors

ALPHA = 1e6  # the largest alpha
NAME = re.compile(r"\^?[\w.-]+\$?")  # of a layer, or its end
METADATA = "lora_adapter_metadata"  # the key of PEFT's configuration in the header, as diffusers writes it
CONFIG = "adapter_config.json"  # PEFT's configuration as a file
FEW = 3  # names that a message lists
SETS: Mapping[frozenset[str], str] = {  # the kind of a module by its tensors without alpha and scale
    frozenset({"down", "up"}): "low",
    frozenset({"down", "mid", "up"}): "low",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}): "loha",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}): "loha",
    frozenset({"diff"}): "full",
}


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
    """

    name: str
    deltas: Mapping[str, Delta]
    fingerprint: str = ""
    about: LoraCard | None = None
    notes: tuple[str, ...] = ()
    file: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)


LoraLike = str | os.PathLike[str] | Adapter  # a name, a file, or an adapter
Loras = LoraLike | Mapping[Any, float] | Sequence[LoraLike]  # one, several, or several with their scales


def read(path: str | os.PathLike[str], components: Components, *, partial: bool = False) -> Adapter:
    """Read an adapter for a model.

    Args:
        path: the file.
        components: the model.
        partial: accept a file of which only some modules fit.

    Raises:
        InputError: the file is not a LoRA or is for another family, contains NaN or a module of rank 0, or has modules
            that fit nothing in the model.
    """
    header = read_header(Path(path))
    name = Path(path).name
    lora = read_lora(header.tensors, header.metadata)
    if lora is None or not lora.modules:
        raise InputError(
            f"{path}: not a LoRA: none of its {len(header.tensors)} tensors belongs to a known kind of module"
        )
    notes = check_compatibility(name, lora, dict(header.metadata), components.card)
    tensors: dict[str, Tensor] = {}
    digest = Fingerprint()
    for key, stored in read_tensors(path, header):
        if stored.is_floating_point() and not bool(stored.isfinite().all()):
            raise InputError(f"{path}: tensor {key!r} contains NaN or infinity")
        digest.add(key, stored)
        tensors[key] = stored.clone()
    scales = Scales(_configs(Path(path), dict(header.metadata)))
    deltas, ranks, unmatched, without_alpha = _match(str(path), tensors, components, scales)
    _check_all(str(path), deltas, unmatched, lora, components, partial)
    notes += _notes(name, deltas, without_alpha, unmatched, components)
    card = read_lora_card(dict(header.metadata), name)
    return Adapter(name, deltas, digest.hex(), card, tuple(notes), str(path), ranks)


@dataclass(frozen=True, slots=True)
class Scales:
    """Find alpha/rank of a module: by its own alpha, else by PEFT's configuration, else 1.

    configs: PEFT's configuration by root, "" for the whole file.
    """

    configs: Mapping[str, Mapping[str, Any]]

    def of(self, name: str, rank: int, alpha: float | None) -> float:
        """Return alpha/rank. name: of the module in the file."""
        root, _, path = name.partition(".")
        config = self.configs.get(root, self.configs.get("", {}))
        if alpha is None:
            common = config.get("lora_alpha", config.get("alpha"))  # of LoRA, and of LoHa and LoKr
            alpha = _own_alpha(config.get("alpha_pattern") or {}, path, common)
            if alpha is None:
                return 1.0
            check_number("lora_alpha", alpha, -ALPHA, ALPHA)
        return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)

    @property
    def known(self) -> bool:
        """Whether there is a configuration."""
        return bool(self.configs)


def _own_alpha(patterns: Any, path: str, common: float | None) -> float | None:
    """Find the alpha of a layer by PEFT's patterns, which are the ends of names.

    Raises InputError for anything but names: a regular expression of a file can take for ever.
    """
    if not isinstance(patterns, dict) or not all(NAME.fullmatch(one) for one in patterns):
        raise InputError(
            f"alpha_pattern {quoted(patterns)}: a table with the ends of layers' names, and no other patterns"
        )
    ends = (alpha for one, alpha in patterns.items() if f".{path}".endswith(f".{one.lstrip('^').rstrip('$')}"))
    return next(ends, common)


def _configs(path: Path, metadata: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Read PEFT's configuration: of each root from the header, or of the whole file from the file next to it."""
    found: dict[str, dict[str, Any]] = {}
    try:
        if METADATA in metadata:
            for key, value in json_object(metadata[METADATA]).items():
                root, _, setting = key.partition(".")
                found.setdefault(root, {})[setting] = value
        elif (path.parent / CONFIG).is_file():
            found[""] = read_json(path.parent / CONFIG, path.parent)
    except ValueError as error:
        raise InputError(f"{path}: cannot read its PEFT configuration: {error}") from None
    return found


Matched = tuple[dict[str, Delta], dict[str, int], list[str], list[str]]


def load_adapters(lora: Loras, components: Components) -> tuple[tuple[Adapter, float], ...]:
    """Return each adapter with its scale, 1 by default. Names and files are read, with their notes as warnings."""
    every = (lora,) if isinstance(lora, (str, os.PathLike, Adapter)) else lora
    items = every.items() if isinstance(every, Mapping) else ((one, 1.0) for one in every)
    found = []
    for one, scale in items:
        adapter = one if isinstance(one, Adapter) else read(find(one, ADAPTERS), components)
        for note in () if isinstance(one, Adapter) else adapter.notes:
            warnings.warn(note, stacklevel=3)
        found.append((adapter, scale))
    return tuple(found)


def _match(where: str, tensors: Mapping[str, Tensor], components: Components, scales: Scales) -> Matched:
    """Build the delta of each module. Returns deltas and ranks by layer, unmatched modules, modules without alpha."""
    roots = components.adaptable()
    names = Names(roots, components.card.family)
    deltas: dict[str, Delta] = {}
    ranks: dict[str, int] = {}
    unmatched: list[str] = []
    without_alpha: list[str] = []
    groups = grouped(tensors)
    grouped_keys = {key for halves in groups.values() for key in halves.values()}
    unmatched += [key for key in tensors if key not in grouped_keys]
    for name, keys in groups.items():
        halves = {half: tensors[key] for half, key in keys.items()}
        targets = names.targets(name)
        if not targets or set(halves) == {"alpha"} or "bias" in halves:
            unmatched.append(name)
            continue
        if "alpha" not in halves and not scales.known and "down" in halves:
            without_alpha.append(name)
        delta, rank = _delta(f"{where}: {name}", name, halves, scales)
        for target in targets:
            layer = f"{target.root}.{target.layer}"
            part = delta if target.rows is None else rows(delta, *target.rows)
            _check_shape(f"{where}: {name}", layer, part, roots[target.root].get_submodule(target.layer))
            if layer in deltas:
                raise InputError(f"{where}: {name} changes {layer}, which another of its modules also changes")
            deltas[layer], ranks[layer] = part, rank
    return deltas, ranks, unmatched, without_alpha


def _delta(where: str, name: str, halves: Mapping[str, Tensor], scales: Scales) -> tuple[Delta, int]:
    """Build the change of one module. Returns it with its rank, 0 for a kind without one."""
    alpha = float(halves["alpha"].reshape(-1)[0]) if "alpha" in halves else None
    tensors = {half: value for half, value in halves.items() if half not in ("alpha", "scale")}
    kind = SETS.get(frozenset(tensors)) or ("lokr" if all(half.startswith("lokr_") for half in tensors) else "")
    if not kind:
        raise InputError(
            f"{where}: contains {', '.join(sorted(tensors))}, which is not LoRA, LoHa, LoKr, DoRA or a difference"
        )
    try:
        delta, rank = BUILDERS[kind](tensors, lambda rank: scales.of(name, _ranked(where, rank), alpha))
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not match: {str(error).splitlines()[0]}") from None
    return (Dora(delta, halves["scale"]) if "scale" in halves else delta), rank


def _ranked(where: str, rank: int) -> int:
    if rank < 1:
        raise InputError(f"{where}: rank 0; it must be at least 1")
    return rank


def _low(tensors: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    down, up = tensors["down"].float(), tensors["up"].float()
    factor = scale(len(down))
    if "mid" in tensors:  # Tucker decomposition: (rank, rank, *kernel) between two 1 x 1 convolutions
        down = (tensors["mid"].float().permute(0, *range(2, tensors["mid"].ndim), 1) @ down.flatten(1)).movedim(-1, 1)
    return LowRank(down, up.flatten(1), factor), len(tensors["down"])


def _loha(tensors: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    left = tensors["hada_w1_a"], tensors["hada_w2_a"]
    right = tensors["hada_w1_b"], tensors["hada_w2_b"]
    cores = (tensors["hada_t1"], tensors["hada_t2"]) if "hada_t1" in tensors else None
    rank = len(right[0])
    return LoHa(left, right, cores, scale(rank)), rank


def _lokr(tensors: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    """Two full factors have no rank, and alpha has no effect.   Source: LyCORIS, lycoris/modules/lokr.py."""
    first, rank = _side(tensors, "lokr_w1", 0)
    second, rank = _side(tensors, "lokr_w2", rank)
    return LoKr(first, second, scale(rank) if rank else 1.0), rank


def _side(tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[Tensor, int]:
    if name in tensors:
        return tensors[name].float(), rank
    if f"{name}_a" not in tensors or f"{name}_b" not in tensors:
        raise RuntimeError(f"{name} is missing")
    left, right = tensors[f"{name}_a"].float(), tensors[f"{name}_b"].float()
    if name == "lokr_w2" and "lokr_t2" in tensors:
        core = tensors["lokr_t2"].float()
        product = (left.T @ (core.permute(0, *range(2, core.ndim), 1) @ right).flatten(1)).reshape(
            left.shape[1], *core.shape[2:], right.shape[1]
        )
        return product.movedim(-1, 1), len(right)
    return left @ right.flatten(1), len(right)


def _full(tensors: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    return FullDelta(tensors["diff"]), 0


BUILDERS = {"low": _low, "loha": _loha, "lokr": _lokr, "full": _full}


def _check_shape(where: str, layer: str, delta: Delta, module: nn.Module) -> None:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(f"{where}: {layer} has no weight")
    try:
        delta.change(weight.new_empty(weight.shape, device="cpu"))
    except InputError as error:
        raise InputError(f"{where}: does not fit {layer}: {error}; it was made for another architecture") from None
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not match: {str(error).splitlines()[0]}") from None


def _check_all(
    where: str, deltas: Mapping[str, Delta], unmatched: list[str], lora: Lora, components: Components, partial: bool
) -> None:
    total = len(lora.modules)
    if not deltas:
        raise InputError(
            f"{where}: none of its {total} modules fits {components.card.name!r}: {first_names(unmatched)}"
        )
    if unmatched and not partial:
        raise InputError(
            f"{where}: {len(unmatched)} of {total + lora.strange} modules fit nothing in {components.card.name!r}: "
            f"{first_names(unmatched)}; --partial (partial=True) uses the others"
        )


def _notes(
    name: str, deltas: Mapping[str, Delta], without_alpha: list[str], unmatched: list[str], components: Components
) -> list[str]:
    """Return warnings for the user."""
    found = []
    if without_alpha:
        found.append(f"{name}: {len(without_alpha)} modules have no alpha; the rank is used, so that the scale is 1")
    if unmatched:
        found.append(f"{name}: {len(unmatched)} modules fit nothing and are ignored: {first_names(unmatched)}")
    layers = layers_of(components, deltas)
    base = sum(layer.weight.numel() for layer in layers.values())
    count = sum(delta.count() for delta in deltas.values())
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
