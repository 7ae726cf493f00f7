"""`unnoise models`: what can be loaded, from the headers of the files alone."""

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unnoise.card import Card, read_card
from unnoise.cli.model_options import ModelOptions, own_card
from unnoise.cli.progress import saying
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import ZOO, find
from unnoise.formats.header import read_header
from unnoise.formats.strict_json import plain


def models(
    model: Annotated[
        str | None, Parameter(help="Name, .safetensors file or folder of diffusers, whose whole card is shown.")
    ] = None,
    /,
    *,
    parts: Annotated[str | None, Parameter(help="Folder that has what a single file of another maker lacks.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """List the models that can be loaded by name, or show the card of one.

    Besides these, commands take the path of a .safetensors file that `unnoise train` wrote, and models of other makers:
    folders in the layout of diffusers, and single files.
    """
    if model is not None:
        print(json.dumps(plain(_card(ModelOptions(model, parts))), indent=None if as_json else 2))
        return
    found = [_facts(name) for name in ZOO]
    if as_json:
        print(json.dumps({"models": found}))
        return
    for facts in found:
        sizes = ", ".join(f"{width}x{height}" for width, height in facts["sizes"])
        parameters, megabytes = facts["parameters"] / 1e6, facts["bytes"] / 1e6
        print(f"{facts['name']}: {parameters:.1f} M parameters, {megabytes:.1f} MB, {sizes} pixels, {facts['licence']}")


def _card(source: ModelOptions) -> Card:
    """Read the card of a model, or make the one of another maker's, which is not read but for its headers."""
    card = own_card(source)
    if card is not None:
        return card
    with saying(f"reading {source.model}"):
        import_torch()
        from unnoise.integrations.diffusers.load import meta

        return meta(find(source.model), None if source.parts is None else Path(source.parts)).card


def _facts(name: str) -> dict[str, Any]:
    header = read_header(find(name))
    card = read_card(find(name), header)
    return {
        "name": name,
        "path": str(find(name)),
        "parameters": sum(prod(entry.shape) for entry in header.tensors.values()),
        "bytes": header.size,
        "sizes": card.advice.sizes,
        "licence": card.licence,
        "fingerprint": card.fingerprint,
    }
