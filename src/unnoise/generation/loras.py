"""The LoRA adapters of a request: names, files, "FILE:WEIGHT", adapters that were read before."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from unnoise.adapters.lora.read import Adapter, read
from unnoise.components import Components
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError, InputWarning, check_number, quoted
from unnoise.generation.limits import LORA
from unnoise.generation.request import split_weight

Loras = tuple[tuple[Adapter, float], ...]


def key_of(adapter: Adapter) -> str:
    """Name an adapter among others: its fingerprint, or its identity where it was never in a file."""
    return adapter.fingerprint or f"object {id(adapter)}"


def read_loras(value: Any, components: Components, partial: bool) -> Loras:
    """Read the adapters of a request, each with its weight.

    Args:
        value: one adapter or several, or a mapping to weights; each is a name, a path, "FILE:WEIGHT" or an `Adapter`.
        components: the model they are applied to.
        partial: apply what fits, where not all does.

    Raises:
        InputError: a file cannot be read or does not fit, or a weight is out of range.
    """
    every = (value,) if isinstance(value, (str, os.PathLike, Adapter)) else value
    if not isinstance(every, Mapping | Sequence):
        raise InputError(
            f"lora {quoted(value)}: a name, a path or an adapter, several of them, or a mapping to weights"
        )
    items = every.items() if isinstance(every, Mapping) else (split_weight(one) for one in every)
    found = []
    for one, weight in items:
        check_number("lora weight", weight, -LORA, LORA)
        adapter = one if isinstance(one, Adapter) else read(find(one, ADAPTERS), components, partial=partial)
        for note in () if isinstance(one, Adapter) else adapter.notes:
            warnings.warn(note, InputWarning, stacklevel=3)
        found.append((adapter, float(weight)))
    names = [adapter.name for adapter, _ in found]
    if len({key_of(adapter) for adapter, _ in found}) < len(found):
        raise InputError(f"lora {', '.join(names)}: one adapter is given twice; add its weights")
    return tuple(found)
