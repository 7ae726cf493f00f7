"""The LoRA adapters of a request: names, files, "FILE:WEIGHT@NETWORK", adapters that were read before."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unnoise.adapters.lora.read import Adapter, fingerprint_of, read_and_warn
from unnoise.components import Components
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError
from unnoise.generation.limits import LORA, check_number
from unnoise.generation.metadata import AppliedAdapter
from unnoise.generation.request import split_lora, split_network

Loras = tuple[tuple[Adapter, float], ...]
Asked = tuple[Any, float, str]  # a name, a path or an adapter, its weight, and the network that it is for


def key_of(adapter: Adapter) -> str:
    """Name an adapter among others: its fingerprint and network, or its identity where it was never in a file."""
    return f"{adapter.fingerprint}@{adapter.network}" if adapter.fingerprint else f"object {id(adapter)}"


def read_loras(value: Any, components: Components, partial: bool, applied: Sequence[AppliedAdapter] = ()) -> Loras:
    """Read the adapters of a request, each with its weight.

    Args:
        value: one adapter or several, or a mapping to weights; each is a name, a path, "FILE:WEIGHT@NETWORK" or an
            `Adapter`.
        components: the model they are applied to.
        partial: apply what fits, where not all does.
        applied: the adapters of a sample that is drawn again, which say the networks that are left out here.

    Raises:
        InputError: a file cannot be read or does not fit, or a weight is out of range.
    """
    found = []
    for one, weight, network in _again(_asked(value), applied):
        check_number("lora weight", weight, -LORA, LORA)
        if isinstance(one, Adapter):
            adapter = one
        else:
            adapter = read_and_warn(find(one, ADAPTERS), components, partial=partial, network=network)
        found.append((adapter, float(weight)))
    names = [adapter.name for adapter, _ in found]
    if len({key_of(adapter) for adapter, _ in found}) < len(found):
        raise InputError(f"lora {', '.join(names)}: one adapter is given twice; add its weights")
    return tuple(found)


def _asked(value: Any) -> list[Asked]:
    every = (value,) if isinstance(value, (str, os.PathLike, Adapter)) else value
    if isinstance(every, Mapping):
        named = ((*split_network(one), weight) for one, weight in every.items())
        return [(name, weight, network) for name, network, weight in named]
    return [split_lora(one) for one in every]


def _again(asked: Sequence[Asked], applied: Sequence[AppliedAdapter]) -> Iterator[Asked]:
    """Name the networks of files as those of a sample that is drawn again; a file may be for several."""
    if not any(one.network for one in applied):
        yield from asked
        return
    done = set()
    for one, weight, network in asked:
        own = () if network or isinstance(one, Adapter) else _networks(one, applied)
        for each in own or (network,):
            if (str(one), each) not in done:
                yield one, weight, each
            done.add((str(one), each))


def _networks(one: Any, applied: Sequence[AppliedAdapter]) -> tuple[str, ...]:
    fingerprint = fingerprint_of(find(one, ADAPTERS))
    return tuple(each.network for each in applied if each.fingerprint == fingerprint)
