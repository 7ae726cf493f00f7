"""`unnoise inspect`: describe files of weights and diffusers folders by their headers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unnoise.card import KEY, from_json
from unnoise.check.read.file_kinds import PICKLES
from unnoise.check.read.tree import is_model_folder
from unnoise.check.read.weights import read_weights
from unnoise.check.subject import NamedModel, Weights
from unnoise.embedded import ADAPTERS, CONTROLS, ZOO, find
from unnoise.errors import InputError
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora
from unnoise.families.names import by_class
from unnoise.families.own import CONTROL, LORA, base_card, own_card
from unnoise.families.tensors import ema
from unnoise.formats.diffusers_folder import CONFIG, INDEX, listed_components
from unnoise.formats.header import Header, read_header
from unnoise.formats.json_text import read_json
from unnoise.formats.open_file import inside

SHOWN, CHARACTERS = 12, 100  # keys of metadata that are printed, and characters of each value
NOTED = (
    "ss_base_model",
    "ss_sd_model",
    "ss_network",
    "ss_resolution",
    "ss_steps",
    "ss_learning_rate",
    "modelspec.",
    "general.",
    "prediction_type",
)
FIGURES = {
    "steps": "{} steps",
    "training_loss": "training loss {:.4g}",
    "validation_loss": "validation loss {:.4g}",
    "ema": "EMA length {:g}",
}
MOST = 1e15  # of a figure; a file may hold any number
MARKERS = ("v_pred", "edm_vpred.sigma_max", "edm_mean", "ztsnr")  # tensors that state the prediction type


def inspect(
    *files: Annotated[Path, Parameter(help="Files of weights, folders of diffusers, or names of models.")],
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """Describe files: family, variant, parts, prediction type, parameters, dtypes, LoRA rank, alpha and base.

    Only headers and a few numbers are read, so a file of any size takes the same time.
    """
    if not files:
        raise InputError("inspect: give at least one file, folder or name")
    found = [_described(path) for path in files]
    if as_json:
        print(json.dumps({"files": found}, allow_nan=False))
        return
    print("\n\n".join("\n".join(_lines(one)) for one in found))


def _described(path: Path) -> dict[str, Any]:
    for table in (ZOO, ADAPTERS, CONTROLS):
        if str(path) in table:
            path = find(str(path), table)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix.lower() in PICKLES:
        raise InputError(f"{path}: a pickle, which can run code when it is opened; it was not opened")
    subject = read_weights(str(path))
    if subject.faults:
        raise InputError(f"{path}: {subject.faults[0].message}")
    return _file(path, subject.weights[0], subject.models[0])


def _file(path: Path, weights: Weights, model: NamedModel) -> dict[str, Any]:
    header, identity = weights.header, weights.identity
    described: dict[str, Any] = {"path": str(path), "format": weights.format, "role": weights.role}
    described |= _identified(identity, model.known or facts(identity), header)
    described["parts"] = list(weights.parts)
    described |= _counted(header)
    described["ema"] = ema(header.tensors) > 100
    if weights.lora is not None:
        described["lora"] = _adapter(weights.lora, weights.values)
    described |= _card(header)
    described["metadata"] = dict(_noted(header.metadata))
    return described


def _identified(identity: Identity, known: Facts | None, header: Header) -> dict[str, Any]:
    kind, by = _prediction(identity, known, header)
    return {
        "family": identity.family,
        "variant": identity.variant,
        "title": known.title if known else "",
        "known_by": identity.known_by,
        "prediction": kind,
        "prediction_known_by": by,
        "zero_snr": identity.zero_snr,
    }


def _prediction(identity: Identity, known: Facts | None, header: Header) -> tuple[str, str]:
    """Return the prediction type and its evidence: the file, or the family."""
    if identity.prediction:
        marker = next((name for name in MARKERS if name in header.tensors), "")
        return identity.prediction, f"the tensor {marker}" if marker else identity.known_by
    return (known.prediction, f"the family {known.title}") if known and identity.known else ("", "")


def _counted(header: Header) -> dict[str, Any]:
    types: dict[str, dict[str, int]] = {}
    for entry in header.tensors.values():
        one = types.setdefault(entry.dtype, {"tensors": 0, "parameters": 0, "bytes": 0})
        one["tensors"] += 1
        one["parameters"] += prod(entry.shape)
        one["bytes"] += entry.end - entry.start
    return {
        "tensors": len(header.tensors),
        "parameters": sum(one["parameters"] for one in types.values()),
        "dtypes": dict(sorted(types.items(), key=lambda item: -item[1]["bytes"])),
        "bytes": header.size,
    }


def _adapter(lora: Lora, values: Mapping[str, tuple[float, ...]]) -> dict[str, Any]:
    modules = lora.modules.values()
    targets: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for module in modules:
        targets[module.part] = targets.get(module.part, 0) + 1
        kinds[module.kind] = kinds.get(module.kind, 0) + 1
    alphas = {values[module.alpha][0] for module in modules if values.get(module.alpha)}
    return {
        "layout": lora.layout,
        "dialect": lora.dialect,
        "kinds": kinds,
        "modules": targets,
        "ranks": sorted({module.rank for module in modules if module.rank is not None})[:SHOWN],
        "alphas": sorted(alpha for alpha in alphas if abs(alpha) < 1e30)[:SHOWN],
        "strange_tensors": lora.strange,
    }


def _card(header: Header) -> dict[str, Any]:
    """Return what the card of an adapter or a control of this program says, and the classes and figures of a model."""
    if KEY in header.metadata:
        model = from_json(header.metadata[KEY], "card")
        facts = {"classes": list(model.labels), "trained": _trained(model.training)}
    else:
        card = own_card(header.metadata)
        facts = {"trained": _trained(card.get("training"))} | _adapter_card(base_card(header.metadata), card)
    return {name: value for name, value in facts.items() if value}


def _trained(training: object) -> str:
    """Return the figures of a training in words."""
    facts = training if isinstance(training, dict) else {}
    known = ((text, facts[name]) for name, text in FIGURES.items() if type(facts.get(name)) in (int, float))
    return ", ".join(text.format(value) for text, value in known if abs(value) < MOST)


def _adapter_card(base: dict[str, Any] | None, card: Mapping[str, Any]) -> dict[str, Any]:
    strings = {key: card[key] for key in ("trigger", "licence", "reads") if isinstance(card.get(key), str)}
    return {"base": base} | {key: value[:CHARACTERS] for key, value in strings.items() if value} if base else {}


def _noted(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    keys = [key for key in metadata if key.startswith(NOTED)]
    keys += [
        key for key in metadata if key not in (*keys, "format", LORA, CONTROL) and len(metadata[key]) <= CHARACTERS
    ]
    for key in keys[:SHOWN]:
        value = metadata[key]
        yield key[:CHARACTERS], value if len(value) <= CHARACTERS else value[: CHARACTERS - 3] + "..."


def _folder(path: Path) -> dict[str, Any]:
    if not is_model_folder(path):
        raise InputError(f"{path}: not a diffusers folder: it has no {INDEX}, and no {CONFIG} next to weights")
    index = _json(path / INDEX)
    name = str(index.get("_class_name", "") or _json(path / CONFIG).get("_class_name", ""))
    roles = {role: class_ for role, (_, class_) in listed_components(index).items() if role.isidentifier()} or {
        "": name
    }
    parts = {role: _component(path / role, class_) for role, class_ in roles.items()}
    identity = by_class(name)
    known = facts(identity)
    settings = _json(path / "scheduler" / "scheduler_config.json")
    described = {
        "path": str(path),
        "format": "diffusers",
        "role": "pipeline" if index else "component",
        "class": name[:CHARACTERS],
    }
    described |= _identified(identity, known, Header({}, {}, 0))
    if isinstance(kind := settings.get("prediction_type"), str):
        described |= {"prediction": kind[:CHARACTERS], "prediction_known_by": "scheduler/scheduler_config.json"}
    return described | {
        "components": parts,
        "parameters": sum(part["parameters"] for part in parts.values()),
        "bytes": sum(part["bytes"] for part in parts.values()),
    }


def _component(path: Path, class_: str) -> dict[str, Any]:
    parameters = size = 0
    types: set[str] = set()
    for file in sorted(path.glob("*.safetensors"))[:1000]:
        if "." in file.stem and file.with_name(f"{file.stem.split('.')[0]}.safetensors").exists():
            continue  # another precision of the same weights, such as model.fp16.safetensors
        header = read_header(inside(file, path.parent))
        parameters += sum(prod(entry.shape) for entry in header.tensors.values())
        types |= {entry.dtype for entry in header.tensors.values()}
        size += header.size
    return {"class": class_[:CHARACTERS], "parameters": parameters, "dtypes": sorted(types), "bytes": size}


def _json(path: Path) -> dict[str, Any]:
    return read_json(path, strict=False) if path.is_file() else {}


def _lines(described: Mapping[str, Any]) -> list[str]:
    """Format the description in aligned lines."""
    family = described["title"] or described["family"]
    rows = [("family", _with(f"{family} {described['variant']}".strip(), described["known_by"]))]
    rows.append(
        (
            "what",
            ", ".join(
                filter(None, [described["role"], described["format"], described.get("class", ""), *_plus(described)])
            ),
        )
    )
    if described["prediction"]:
        zero = ", zero terminal SNR" if described["zero_snr"] else ""
        rows.append(("predicts", _with(described["prediction"] + zero, described["prediction_known_by"])))
    if described.get("lora"):
        rows += _lora_rows(described["lora"])
    if described.get("base"):
        rows.append(
            ("base", f"{described['base'].get('name', '?')}, weights {described['base'].get('fingerprint', '?')[:12]}")
        )
        rows += [(key, described[key]) for key in ("trigger", "reads", "licence") if key in described]
    if described.get("classes"):
        rows.append(("classes", ", ".join(described["classes"])))
    if "trained" in described:
        rows.append(("trained", described["trained"]))
    rows.append(("parameters", f"{_count(described['parameters'])}, {_bytes(described['bytes'])}"))
    for dtype, one in described.get("dtypes", {}).items():
        rows.append(("", f"{dtype}: {one['tensors']} tensors, {_count(one['parameters'])}, {_bytes(one['bytes'])}"))
    for role, one in described.get("components", {}).items():
        size = (
            f", {_count(one['parameters'])} {'/'.join(one['dtypes'])}, {_bytes(one['bytes'])}" if one["bytes"] else ""
        )
        rows.append((role, f"{one['class']}{size}"))
    rows += [(key, value) for key, value in described.get("metadata", {}).items()]
    width = max(len(key) for key, _ in rows if len(key) <= 30)
    return [_clean(described["path"])] + [f"  {_clean(key):{width}}  {_clean(value)}" for key, value in rows]


def _lora_rows(lora: Mapping[str, Any]) -> list[tuple[str, str]]:
    modules = ", ".join(f"{count} {part}" for part, count in lora["modules"].items()) or "none"
    kinds = ", ".join(lora["kinds"])
    rows = [
        ("adapter", f"{kinds or 'nothing'} in the layout of {lora['layout']}, layers as {lora['dialect'] or 'none'}")
    ]
    rows += [("modules", modules), ("rank", _listed(lora["ranks"])), ("alpha", _listed(lora["alphas"]))]
    return rows


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers) or "none"


def _plus(described: Mapping[str, Any]) -> list[str]:
    return [*described.get("parts", ()), *(["EMA weights"] if described.get("ema") else [])]


def _with(value: str, by: str) -> str:
    return f"{value} (by {by})" if by else value


def _count(number: int) -> str:
    for size, word in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")):
        if number >= size:
            return f"{number / size:.2f} {word} parameters"
    return f"{number} parameters"


def _bytes(number: int) -> str:
    for size, word in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if number >= size:
            return f"{number / size:.2f} {word}"
    return f"{number} bytes"


def _clean(text: str) -> str:
    """Escape characters that a terminal would act on."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
