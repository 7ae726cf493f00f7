"""The LoRA adapters of a request: names, files, "FILE:WEIGHT@NETWORK", adapters that were read before."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from unnoise.adapters.lora.read import Adapter, fingerprint_of, read_and_warn
from unnoise.components import Components
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError, check_number, quoted
from unnoise.generation.limits import LORA
from unnoise.generation.metadata import AppliedAdapter
from unnoise.generation.request import Request, split_lora, split_network
from unnoise.text.prompt_syntax import split_adapters

Loras = tuple[tuple[Adapter, float], ...]
Asked = tuple[Any, float, str]  # a name, a path or an adapter, its weight, and the network that it is for


def key_of(adapter: Adapter) -> str:
    """Name an adapter among others: its fingerprint and network, or its identity where it was never in a file."""
    return f"{adapter.fingerprint}@{adapter.network}" if adapter.fingerprint else f"object {id(adapter)}"


def by_adapters(request: Request) -> list[Request]:
    """Split a request where its prompts name other adapters than the prompt before, so that each part has one set."""
    if request.sampling.prompt_weighting != "apply":
        return [request]
    runs = groupby(request.prompts, key=lambda prompt: split_adapters(prompt)[1])
    return [replace(request, prompts=tuple(run)) for _, run in runs]


def adapters_of(request: Request, components: Components) -> Loras:
    """Return the adapters of a request: those of its options, and those that its prompts name, where that applies.

    Raises:
        InputError: an adapter cannot be applied, is not known, or has two weights.
    """
    given = read_loras(request.adapters.lora, components, request.adapters.partial)
    if request.sampling.prompt_weighting != "apply":
        return given
    named = {split_adapters(prompt)[1] for prompt in request.prompts}
    if len(named) > 1:
        raise InputError("prompt: its prompts name several sets of <lora:NAME:WEIGHT>; plan each set alone")
    for name, weight in named.pop():
        given = _named(name, weight, given, request, components)
    return given


def _named(name: str, weight: float, given: Loras, request: Request, components: Components) -> Loras:
    """Give an adapter that a prompt names its weight: one of those given, or an embedded one."""
    check_number(f"prompt: weight of <lora:{name[:40]}>", weight, -LORA, LORA)
    for k, (adapter, own) in enumerate(given):
        if adapter.name.removesuffix(".safetensors") == name:
            if own not in (0, 1, weight):
                raise InputError(
                    f"prompt: <lora:{name[:40]}:{weight:g}>: --lora gives it weight {own:g}; give one weight"
                )
            return (*given[:k], (adapter, weight), *given[k + 1 :])
    if name in ADAPTERS:
        return (*given, *read_loras({name: weight}, components, request.adapters.partial))
    raise InputError(
        f"prompt: <lora:{name[:40]}:{weight:g}>: no such adapter is given; add --lora PATH/{name[:40]}.safetensors "
        f"(in Python lora='...'), or leave it out; embedded: {', '.join(ADAPTERS)}"
    )


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
    if not isinstance(every, Sequence):
        raise InputError(
            f"lora {quoted(value)}: a name, a path or an adapter, several of them, or a mapping to weights"
        )
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
