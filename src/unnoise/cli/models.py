"""`unnoise models`: models, adapters and controls that can be used by name, from the headers of their files."""

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unnoise.card import Advice, Card, Distilled, read_card
from unnoise.cli.busy import busy
from unnoise.cli.model_options import ModelOptions, own_card
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import ADAPTERS, CONTROLS, ZOO, find
from unnoise.families.lora import read_lora
from unnoise.families.own import own_card as own_adapter_card
from unnoise.formats.header import Header, read_header
from unnoise.formats.strict_json import plain


def models(
    model: Annotated[str | None, Parameter(help="Name, .safetensors file or diffusers folder: show its card.")] = None,
    /,
    *,
    components: Annotated[str | None, Parameter(help="Folder with what a foreign single file lacks.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON.")] = False,
) -> None:
    """List models, adapters and controls that have a name, or show the card of one model.

    Commands also take the path of a .safetensors file that `unnoise train` wrote, and foreign models: folders in the
    layout of diffusers, and single files.
    """
    if model is not None:
        card = _card(ModelOptions(model, components))
        print(json.dumps(plain(card)) if as_json else "\n".join(card_lines(card)))
        return
    found = {
        "models": [_model(name) for name in ZOO],
        "adapters": [_adapter(name, ADAPTERS) for name in ADAPTERS],
        "controls": [_adapter(name, CONTROLS) for name in CONTROLS],
    }
    print(json.dumps(found) if as_json else "\n".join(_lines(found)))


def _lines(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    lines = []
    for kind, several in found.items():
        lines.append(kind)
        for facts in several:
            numbers = f"{facts['parameters'] / 1e6:.1f} M parameters, {facts['bytes'] / 1e6:.1f} MB"
            sizes = ", ".join(f"{width}x{height}" for width, height in facts.get("sizes", ()))
            rank = f"rank {', '.join(map(str, facts['ranks']))}, " if facts.get("ranks") else ""
            rest = f"{sizes} pixels" if sizes else f"{rank}for {facts['base']}; {facts['use']}"
            lines.append(f"  {facts['name']:10} {numbers}, {rest}")
    return [*lines, "", "unnoise models NAME shows a card."]


def card_lines(card: Card) -> list[str]:
    """Write a card for people: what it is, its defaults, how it was trained."""
    advice = card.advice
    sizes = ", ".join(f"{width}x{height}" for width, height in advice.sizes) or "any"
    low, high = advice.guidance_range
    rows = {
        "network": f"{card.net.class_}, predicts {card.kind}, process {card.process.class_}",
        "family": " ".join(filter(None, (card.family, card.variant))),
        "space": " of ".join(filter(None, (card.space.class_, card.autoencoder.class_ if card.autoencoder else ""))),
        "text": card.text.class_ if card.text else "none",
        **({"classes": ", ".join(card.labels)} if card.labels else {}),
        "makes": f"{card.modality}, sizes {sizes}",
        "steps": f"{advice.steps}" + (f", fitted schedules for {_fitted(card)}" if advice.fitted else ""),
        "guidance": f"scale {advice.guidance_scale:g}, sound from {low:g} to {high:g}",
        **(_distilled(card.distilled, advice) if card.distilled else {}),
        "sampler": advice.sampler or "chosen for the number of steps",
        "schedule": str(advice.schedule or "chosen for the number of steps"),
        "licence": card.licence,
        "fingerprint": card.fingerprint[:12] or "none",
    }
    lines = [card.name, *(f"  {name:12} {value}" for name, value in rows.items())]
    figures = card.training.get("figures", {})
    trained = {name: value for name, value in card.training.items() if name != "figures"}
    if trained:
        lines += ["training", *(f"  {name:24} {_value(value)}" for name, value in trained.items())]
    if isinstance(figures, dict) and figures:
        lines += ["measured", *(f"  {name:24} {_value(value)}" for name, value in figures.items())]
    return lines


def _fitted(card: Card) -> str:
    return ", ".join(str(len(setting.levels)) for setting in card.advice.fitted)


def _distilled(distilled: Distilled, advice: Advice) -> dict[str, str]:
    """Write what a model was distilled from, and the guidance that it takes."""
    low, high = distilled.guidance_range
    own = advice.distilled_guidance
    scale = f"folded in, {low:g}" if own is None else f"an input, {own:g} by default, trained from {low:g} to {high:g}"
    calls = ", ".join(map(str, distilled.steps))
    return {"distilled": f"by {distilled.method} from {distilled.teacher}, for {calls} calls", "guidance": scale}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(item)}" for name, item in value.items())[:80]
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:80]


def _card(options: ModelOptions) -> Card:
    """Read the card of a model of unnoise, or make that of a foreign one, of which only headers are read."""
    card = own_card(options)
    if card is not None:
        return card
    with busy(f"reading {options.model}"):
        import_torch()
        from unnoise.integrations.diffusers.load import meta

        return meta(find(options.model), None if options.components is None else Path(options.components)).card


def _model(name: str) -> dict[str, Any]:
    header = read_header(find(name))
    card = read_card(find(name), header)
    facts = {"sizes": card.advice.sizes, "licence": card.licence, "fingerprint": card.fingerprint}
    return {**_file(name, find(name), header), **facts}


def _adapter(name: str, table: dict[str, str]) -> dict[str, Any]:
    header = read_header(find(name, table))
    about = own_adapter_card(header.metadata)
    use = f"--control {name} --control-image FILE" if table is CONTROLS else f"--lora {name}"
    lora = read_lora(header.tensors, header.metadata) if table is ADAPTERS else None
    ranks = sorted({module.rank for module in lora.modules.values() if module.rank} if lora else ())
    facts = {"base": about["base"]["name"], "use": use, "licence": about.get("licence", "unknown"), "ranks": ranks}
    return {**_file(name, find(name, table), header), **facts}


def _file(name: str, path: Path, header: Header) -> dict[str, Any]:
    parameters = sum(prod(entry.shape) for entry in header.tensors.values())
    return {"name": name, "path": str(path), "parameters": parameters, "bytes": header.size}
