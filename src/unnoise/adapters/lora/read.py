"""Read a LoRA file onto a model: its layout, the layers that it changes, its scales; all of it or nothing."""

import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unnoise.adapters.lora.compatibility import LoraCard, about, tie
from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LoHa, LoKr, LowRank, rows
from unnoise.adapters.lora.names import Names
from unnoise.components import Components
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError
from unnoise.families.lora import Lora, grouped, read_lora
from unnoise.formats.header import read_header
from unnoise.formats.tensors import Fingerprint, read_tensors

METADATA = "lora_adapter_metadata"  # under which diffusers writes PEFT's configuration
CONFIG = "adapter_config.json"  # which PEFT writes beside the file
FEW = 3  # names that a message lists
SETS: Mapping[frozenset[str], str] = {  # what a module's tensors make it, beside alpha and scale
    frozenset({"down", "up"}): "low",
    frozenset({"down", "mid", "up"}): "low",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}): "loha",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}): "loha",
    frozenset({"diff"}): "whole",
}


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Hold what changes a model.

    name: of its file; deltas: by layer, "root.path"; fingerprint: of its tensors as they lie in the file; about: what
    it says of itself; notes: what is allowed but seldom meant; file: where it was read, "" for one that was made;
    ranks: by layer, as the file has them.
    """

    name: str
    deltas: Mapping[str, Delta]
    fingerprint: str = ""
    about: LoraCard | None = None
    notes: tuple[str, ...] = ()
    file: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)


One = str | os.PathLike[str] | Adapter
Loras = One | Mapping[Any, float] | Sequence[One]  # one, several, or several with their weights


def read(path: str | os.PathLike[str], components: Components, *, partial: bool = False) -> Adapter:
    """Read an adapter for a model.

    partial: take what fits, where not all does. Raises InputError for a file that is no LoRA, is of another family, holds
    NaN or a module of rank 0, has tensors that fit nothing in the model (unless partial), or fits it nowhere.
    """
    header = read_header(Path(path))
    name = Path(path).name
    lora = read_lora(header.tensors, header.metadata)
    if lora is None or not lora.modules:
        raise InputError(f"{path}: no LoRA: none of its {len(header.tensors)} tensors is of a module that is known")
    notes = tie(name, lora, dict(header.metadata), components.card)
    tensors: dict[str, Tensor] = {}
    digest = Fingerprint()
    for key, stored in read_tensors(path, header):
        if stored.is_floating_point() and not bool(stored.isfinite().all()):
            raise InputError(f"{path}: tensor {key!r} holds NaN or infinity")
        digest.add(key, stored)
        tensors[key] = stored.clone()
    scales = Scales(_configs(Path(path), dict(header.metadata)))
    deltas, ranks, unmatched, silent = _match(str(path), tensors, components, scales)
    _check_all(str(path), deltas, unmatched, lora, components, partial)
    notes += _notes(name, deltas, silent, unmatched, components)
    own = about(dict(header.metadata), name)
    return Adapter(name, deltas, digest.hex(), own, tuple(notes), str(path), ranks)


@dataclass(frozen=True, slots=True)
class Scales:
    """Tell alpha/rank of a module: by its own alpha, else by PEFT's configuration, else 1.

    configs: PEFT's, by root, "" for the whole file.
    """

    configs: Mapping[str, Mapping[str, Any]]

    def of(self, name: str, rank: int, alpha: float | None) -> float:
        """Give the scale. name: of the module in the file."""
        root, _, path = name.partition(".")
        config = self.configs.get(root, self.configs.get("", {}))
        if alpha is None:
            common = config.get("lora_alpha", config.get("alpha"))  # of LoRA, and of LoHa and LoKr
            alpha = _own_alpha(config.get("alpha_pattern") or {}, path, common)
        if alpha is None:
            return 1.0
        return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)

    @property
    def known(self) -> bool:
        """Say whether there is a configuration."""
        return bool(self.configs)


def _own_alpha(patterns: Mapping[str, float], path: str, common: float | None) -> float | None:
    """Find the alpha of a layer among patterns of its name's end, as PEFT does. Raises InputError for no pattern."""
    try:
        return next((alpha for one, alpha in patterns.items() if re.match(rf"(.*\.)?({one})$", path)), common)
    except re.error as error:
        raise InputError(f"alpha_pattern: {error}") from None


def _configs(path: Path, metadata: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Read PEFT's configuration: of each root from the header, or of the whole from the file beside it."""
    found: dict[str, dict[str, Any]] = {}
    try:
        if METADATA in metadata:
            for key, value in json.loads(metadata[METADATA]).items():
                root, _, setting = key.partition(".")
                found.setdefault(root, {})[setting] = value
        elif (path.parent / CONFIG).is_file():
            found[""] = dict(json.loads((path.parent / CONFIG).read_text()))
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise InputError(f"{path}: its configuration cannot be read: {error}") from None
    return found


Matched = tuple[dict[str, Delta], dict[str, int], list[str], list[str]]


def weighed(lora: Loras, components: Components) -> tuple[tuple[Adapter, float], ...]:
    """Give each adapter its weight, 1 where none is given. What is a name or a file is read, as `read` does.

    Warns of what is allowed but seldom meant in a file that is read here.
    """
    every = (lora,) if isinstance(lora, (str, os.PathLike, Adapter)) else lora
    items = every.items() if isinstance(every, Mapping) else ((one, 1.0) for one in every)
    found = []
    for one, weight in items:
        adapter = one if isinstance(one, Adapter) else read(find(one, ADAPTERS), components)
        for note in () if isinstance(one, Adapter) else adapter.notes:
            warnings.warn(note, stacklevel=3)
        found.append((adapter, weight))
    return tuple(found)


def _match(where: str, tensors: Mapping[str, Tensor], components: Components, scales: Scales) -> Matched:
    """Make the delta of each module and find its layer. Gives deltas, ranks, what fits nothing, what has no alpha."""
    roots = components.adaptable()
    names = Names(roots, components.card.family)
    deltas: dict[str, Delta] = {}
    ranks: dict[str, int] = {}
    unmatched: list[str] = []
    silent: list[str] = []
    groups = grouped(tensors)
    claimed = {key for halves in groups.values() for key in halves.values()}
    unmatched += [key for key in tensors if key not in claimed]
    for name, keys in groups.items():
        halves = {half: tensors[key] for half, key in keys.items()}
        places = names.places(name)
        if not places or set(halves) == {"alpha"} or "bias" in halves:
            unmatched.append(name)
            continue
        if "alpha" not in halves and not scales.known and "down" in halves:
            silent.append(name)
        made, rank = _delta(f"{where}: {name}", name, halves, scales)
        for place in places:
            layer = f"{place.root}.{place.layer}"
            part = made if place.rows is None else rows(made, *place.rows)
            _check_shape(f"{where}: {name}", layer, part, roots[place.root].get_submodule(place.layer))
            if layer in deltas:
                raise InputError(f"{where}: {name} changes {layer}, which another of its modules changes")
            deltas[layer], ranks[layer] = part, rank
    return deltas, ranks, unmatched, silent


def _delta(where: str, name: str, halves: Mapping[str, Tensor], scales: Scales) -> tuple[Delta, int]:
    """Make the change of one module, and give its rank, 0 for one that has none."""
    alpha = float(halves["alpha"].reshape(-1)[0]) if "alpha" in halves else None
    given = {half: value for half, value in halves.items() if half not in ("alpha", "scale")}
    kind = SETS.get(frozenset(given)) or ("lokr" if all(half.startswith("lokr_") for half in given) else "")
    if not kind:
        raise InputError(
            f"{where}: holds {', '.join(sorted(given))}, which is not LoRA, LoHa, LoKr, DoRA or a difference"
        )
    try:
        made, rank = MAKERS[kind](given, lambda rank: scales.of(name, _ranked(where, rank), alpha))
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not fit together: {str(error).splitlines()[0]}") from None
    return (Dora(made, halves["scale"]) if "scale" in halves else made), rank


def _ranked(where: str, rank: int) -> int:
    if rank < 1:
        raise InputError(f"{where}: rank 0: it holds nothing")
    return rank


def _low(given: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    down, up = given["down"].float(), given["up"].float()
    factor = scale(len(down))
    if "mid" in given:  # (rank, rank, *kernel) between two of one pixel: Tucker's form
        down = (given["mid"].float().permute(0, *range(2, given["mid"].ndim), 1) @ down.flatten(1)).movedim(-1, 1)
    return LowRank(down, up.flatten(1), factor), len(given["down"])


def _loha(given: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    left = given["hada_w1_a"], given["hada_w2_a"]
    right = given["hada_w1_b"], given["hada_w2_b"]
    cores = (given["hada_t1"], given["hada_t2"]) if "hada_t1" in given else None
    rank = len(right[0])
    return LoHa(left, right, cores, scale(rank)), rank


def _lokr(given: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    """Both factors whole have no rank, and alpha no meaning.   Source: LyCORIS, lycoris/modules/lokr.py."""
    first, rank = _side(given, "lokr_w1", 0)
    second, rank = _side(given, "lokr_w2", rank)
    return LoKr(first, second, scale(rank) if rank else 1.0), rank


def _side(given: Mapping[str, Tensor], name: str, rank: int) -> tuple[Tensor, int]:
    if name in given:
        return given[name].float(), rank
    if f"{name}_a" not in given or f"{name}_b" not in given:
        raise RuntimeError(f"{name} is missing")
    left, right = given[f"{name}_a"].float(), given[f"{name}_b"].float()
    if name == "lokr_w2" and "lokr_t2" in given:
        core = given["lokr_t2"].float()
        made = (left.T @ (core.permute(0, *range(2, core.ndim), 1) @ right).flatten(1)).reshape(
            left.shape[1], *core.shape[2:], right.shape[1]
        )
        return made.movedim(-1, 1), len(right)
    return left @ right.flatten(1), len(right)


def _whole(given: Mapping[str, Tensor], scale: Any) -> tuple[Delta, int]:
    return FullDelta(given["diff"]), 0


MAKERS = {"low": _low, "loha": _loha, "lokr": _lokr, "whole": _whole}


def _check_shape(where: str, layer: str, delta: Delta, module: nn.Module) -> None:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(f"{where}: {layer} has no weight")
    try:
        delta.change(weight.new_empty(weight.shape, device="cpu"))
    except InputError as error:
        raise InputError(f"{where}: does not fit {layer}: {error}: it was made for another architecture") from None
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not fit together: {str(error).splitlines()[0]}") from None


def _check_all(
    where: str, deltas: Mapping[str, Delta], unmatched: list[str], lora: Lora, components: Components, partial: bool
) -> None:
    total = len(lora.modules)
    if not deltas:
        raise InputError(f"{where}: none of its {total} modules fits {components.card.name!r}: {few(unmatched)}")
    if unmatched and not partial:
        raise InputError(
            f"{where}: {len(unmatched)} of {total + lora.strange} fit nothing in {components.card.name!r}: "
            f"{few(unmatched)}; --partial (partial=True) takes the rest"
        )


def _notes(
    name: str, deltas: Mapping[str, Delta], silent: list[str], unmatched: list[str], components: Components
) -> list[str]:
    """Say what is allowed but seldom meant."""
    found = []
    if silent:
        found.append(f"{name}: {len(silent)} modules without an alpha, taken to be their rank: scale 1")
    if unmatched:
        found.append(f"{name}: {len(unmatched)} modules fit nothing and are left out: {few(unmatched)}")
    layers = layers_of(components, deltas)
    base = sum(layer.weight.numel() for layer in layers.values())
    held = sum(delta.count() for delta in deltas.values())
    if held > base:
        found.append(f"{name}: holds {held:,} numbers to change {base:,}: larger than what it changes")
    return found


def layers_of(components: Components, layers: Iterable[str]) -> dict[str, Any]:
    """Give the modules that are named "root.path"."""
    roots = components.adaptable()
    found = {}
    for layer in layers:
        root, _, path = layer.partition(".")
        found[layer] = roots[root].get_submodule(path)
    return found


def few(names: Iterable[str]) -> str:
    """List the first names."""
    listed = sorted(names)
    return ", ".join(listed[:FEW]) + (", ..." if len(listed) > FEW else "")
