"""`unnoise inspect`: what files of weights and folders of diffusers are, from their headers alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unnoise.check.index import INDEX
from unnoise.check.read.dispatch import PICKLES
from unnoise.check.read.tree import is_model_folder
from unnoise.check.read.weights import read_weights
from unnoise.check.subject import Model, Weights
from unnoise.embedded import ADAPTERS, CONTROLS, ZOO, find
from unnoise.errors import InputError
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora
from unnoise.families.names import by_class
from unnoise.families.own import CONTROL, LORA, base_card, said
from unnoise.families.tensors import ema
from unnoise.formats.header import Header, read_header

LONGEST = 1 << 20  # bytes of a JSON file of a folder
SHOWN, LETTERS = 12, 100  # keys of metadata that are shown, and letters of each value
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
TOLD_BY = ("v_pred", "edm_vpred.sigma_max", "edm_mean", "ztsnr")  # tensors that say how a model predicts


def inspect(
    *files: Annotated[Path, Parameter(help="Files of weights, folders of diffusers, or names of models.")],
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """Say what files are: family, variant, parts, prediction, parameters, types of numbers, LoRA rank, alpha and base.

    Only headers and a few numbers are read, so a file of any size takes the same time.
    """
    if not files:
        raise InputError("inspect: name a file or a folder")
    found = [_told(path) for path in files]
    if as_json:
        print(json.dumps({"files": found}, allow_nan=False))
        return
    print("\n\n".join("\n".join(_lines(one)) for one in found))


def _told(path: Path) -> dict[str, Any]:
    for table in (ZOO, ADAPTERS, CONTROLS):
        if str(path) in table:
            path = find(str(path), table)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    if path.suffix.lower() in PICKLES:
        raise InputError(f"{path}: is a pickle, which runs code when it is opened; it was not opened")
    subject = read_weights(str(path))
    if subject.faults:
        raise InputError(f"{path}: {subject.faults[0].says}")
    return _file(path, subject.weights[0], subject.models[0])


def _file(path: Path, weights: Weights, model: Model) -> dict[str, Any]:
    header, identity = weights.header, weights.identity
    told: dict[str, Any] = {"path": str(path), "format": weights.format, "role": weights.role}
    told |= _identified(identity, model.known or facts(identity), header)
    told["parts"] = list(weights.parts)
    told |= _counted(header)
    told["ema"] = ema(header.tensors) > 100
    if weights.lora is not None:
        told["lora"] = _adapter(weights.lora, weights.values)
    told |= _made(header)
    told["metadata"] = dict(_noted(header.metadata))
    return told


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
    """Say what the net answers with, and how that is known: by the file itself, or by what the family does."""
    if identity.prediction:
        told = next((name for name in TOLD_BY if name in header.tensors), "")
        return identity.prediction, f"the tensor {told}" if told else identity.known_by
    return (known.prediction, f"what {known.title} does") if known and identity.known else ("", "")


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


def _made(header: Header) -> dict[str, Any]:
    """Take over what an adapter or a control of this program says of itself."""
    base, found = base_card(header.metadata), said(header.metadata)
    words = {key: found[key] for key in ("trigger", "licence", "reads") if isinstance(found.get(key), str)}
    return {"base": base} | {key: value[:LETTERS] for key, value in words.items() if value} if base else {}


def _noted(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    keys = [key for key in metadata if key.startswith(NOTED)]
    keys += [key for key in metadata if key not in (*keys, "format", LORA, CONTROL) and len(metadata[key]) <= LETTERS]
    for key in keys[:SHOWN]:
        value = metadata[key]
        yield key[:LETTERS], value if len(value) <= LETTERS else value[: LETTERS - 3] + "..."


def _folder(path: Path) -> dict[str, Any]:
    if not is_model_folder(path):
        raise InputError(f"{path}: is no folder of diffusers: it holds no {INDEX}, nor a config.json beside weights")
    index = _json(path / INDEX)
    name = str(index.get("_class_name", "") or _json(path / "config.json").get("_class_name", ""))
    roles = {key: value[1] for key, value in index.items() if _is_component(value)} or {"": name}
    parts = {role: _component(path / role, class_) for role, class_ in roles.items()}
    identity = by_class(name)
    known = facts(identity)
    settings = _json(path / "scheduler" / "scheduler_config.json")
    told = {
        "path": str(path),
        "format": "diffusers",
        "role": "pipeline" if index else "component",
        "class": name[:LETTERS],
    }
    told |= _identified(identity, known, Header({}, {}, 0))
    if isinstance(kind := settings.get("prediction_type"), str):
        told |= {"prediction": kind[:LETTERS], "prediction_known_by": "scheduler/scheduler_config.json"}
    return told | {
        "components": parts,
        "parameters": sum(part["parameters"] for part in parts.values()),
        "bytes": sum(part["bytes"] for part in parts.values()),
    }


def _is_component(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)


def _component(path: Path, class_: str) -> dict[str, Any]:
    parameters = size = 0
    types: set[str] = set()
    for file in sorted(path.glob("*.safetensors"))[:1000]:
        if "." in file.stem and file.with_name(f"{file.stem.split('.')[0]}.safetensors").exists():
            continue  # another precision of the same weights, such as model.fp16.safetensors
        header = read_header(file)
        parameters += sum(prod(entry.shape) for entry in header.tensors.values())
        types |= {entry.dtype for entry in header.tensors.values()}
        size += header.size
    return {"class": class_[:LETTERS], "parameters": parameters, "dtypes": sorted(types), "bytes": size}


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LONGEST:
            raise InputError(f"{path}: is {path.stat().st_size} bytes long, at most {LONGEST} are read")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        return {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON: {str(error)[:200]}") from None
    return content if isinstance(content, dict) else {}


def _lines(told: Mapping[str, Any]) -> list[str]:
    """Write what was found in aligned lines."""
    family = told["title"] or told["family"]
    rows = [("family", _with(f"{family} {told['variant']}".strip(), told["known_by"]))]
    rows.append(("what", ", ".join(filter(None, [told["role"], told["format"], told.get("class", ""), *_plus(told)]))))
    if told["prediction"]:
        zero = ", zero terminal SNR" if told["zero_snr"] else ""
        rows.append(("predicts", _with(told["prediction"] + zero, told["prediction_known_by"])))
    if told.get("lora"):
        rows += _lora_rows(told["lora"])
    if told.get("base"):
        rows.append(("base", f"{told['base'].get('name', '?')}, weights {told['base'].get('fingerprint', '?')[:12]}"))
        rows += [(key, told[key]) for key in ("trigger", "reads", "licence") if key in told]
    rows.append(("parameters", f"{_count(told['parameters'])}, {_bytes(told['bytes'])}"))
    for dtype, one in told.get("dtypes", {}).items():
        rows.append(("", f"{dtype}: {one['tensors']} tensors, {_count(one['parameters'])}, {_bytes(one['bytes'])}"))
    for role, one in told.get("components", {}).items():
        size = (
            f", {_count(one['parameters'])} {'/'.join(one['dtypes'])}, {_bytes(one['bytes'])}" if one["bytes"] else ""
        )
        rows.append((role, f"{one['class']}{size}"))
    rows += [(key, value) for key, value in told.get("metadata", {}).items()]
    width = max(len(key) for key, _ in rows if len(key) <= 30)
    return [_clean(told["path"])] + [f"  {_clean(key):{width}}  {_clean(value)}" for key, value in rows]


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


def _plus(told: Mapping[str, Any]) -> list[str]:
    return [*told.get("parts", ()), *(["EMA weights"] if told.get("ema") else [])]


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
    """Show what a file says without letters that a terminal would act on."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
