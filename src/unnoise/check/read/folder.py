"""Read a folder of diffusers: its index, the settings of its components, the headers of its weights."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from unnoise.check.index import INDEX
from unnoise.check.read.stated_training import trained_as
from unnoise.check.subject import Config, Located, Location, NamedModel, ReadFault, Subject, Trouble, Weights
from unnoise.check.tables import effective
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name
from unnoise.families.table import VARIANTS
from unnoise.formats.diffusers_folder import listed_components, shard_files
from unnoise.formats.header import Header
from unnoise.formats.json_text import json_value

CONFIGS = ("config.json", "scheduler_config.json")
SHARDS = ".safetensors.index.json"
SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
HOLDERS = (".safetensors", *PICKLES, ".msgpack", ".onnx", ".gguf", ".xml", ".h5", ".pb", ".sft")
NETWORKS = (
    "unet",
    "transformer",
    "transformer_2",
    "vae",
    "prior",
    "decoder",
    "text_encoder",
    "text_encoder_2",
    "text_encoder_3",
)
DENOISERS = ("unet", "transformer", "prior", "decoder")
UNETS: Mapping[tuple[int | None, bool], str] = {
    (768, False): "sd1",
    (1024, False): "sd2",
    (2048, True): "sdxl",
    (1280, True): "sdxl",
}
MOST = 2_000  # files of one folder that are read


@dataclass(slots=True)
class _Reading:
    """Collect the contents of one folder."""

    path: str
    names: frozenset[str]
    faults: list[ReadFault] = field(default_factory=list)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def at(self, name: str) -> str:
        return str(PurePosixPath(self.path) / name)

    def fault(self, kind: Trouble, name: str, message: str, keys: tuple[str | int, ...] = ()) -> None:
        self.faults.append(ReadFault(kind, Location(self.at(name), keys), message))


def read_folder(path: str, texts: Mapping[str, str], headers: Mapping[str, Header], others: Collection[str]) -> Subject:
    """Read a folder of diffusers, or one file of it alone.

    Args:
        path: of the folder
        texts: JSON by relative name
        headers: of safetensors files, by relative name
        others: relative names of all other files

    Returns:
        its subject
    """
    reading = _Reading(path, frozenset([*texts, *headers, *others]))
    kept = dict(list(texts.items())[:MOST])
    for name, text in kept.items():
        _parse(reading, name, text)
    configs = {
        role: config
        for name in reading.contents
        if (role := _role(reading, name)) and (config := _config(reading, name, role))
    }
    weights = _weights(reading, headers)
    index = reading.contents.get(INDEX)
    _check_files(reading, headers, others)
    if index is not None:
        _check_index(reading, index)
    return Subject(
        path=reading.at(next(iter(texts)))
        if len(texts) == 1 and not headers and not others and index is None
        else path,
        tool="diffusers",
        models=(_model(reading, index, configs, weights),) if index is not None else (),
        weights=tuple(weights.values()),
        configs=tuple(configs.values()),
        faults=tuple(reading.faults),
        texts={reading.at(name): text for name, text in kept.items()},
    )


def _parse(reading: _Reading, name: str, text: str) -> None:
    if PurePosixPath(name).name not in (INDEX, *CONFIGS) and not name.endswith(SHARDS) and len(reading.names) > 1:
        return
    try:
        content = json_value(text, strict=False)
    except (ValueError, RecursionError) as error:
        reading.fault("broken", name, f"is not JSON: {str(error)[:200]}")
        return
    if isinstance(content, dict):
        reading.contents[name] = content
    else:
        reading.fault("broken", name, "is not a table of settings")


def _class(content: Mapping[str, Any]) -> str:
    listed = content.get("architectures")
    found = content.get("_class_name") or (listed[0] if isinstance(listed, list) and listed else "")
    return found if isinstance(found, str) else ""


def _role(reading: _Reading, name: str) -> str:
    """Return the role of the component that has these settings, from its folder's name or its class."""
    file = PurePosixPath(name)
    if name == INDEX or name.endswith(SHARDS) or len(file.parts) > 2:
        return ""
    if len(file.parts) == 2:
        return file.parts[0] if file.name in CONFIGS else ""
    class_ = _class(reading.contents[name])
    for mark, role in (
        ("Scheduler", "scheduler"), ("ControlNet", "controlnet"), ("UNet", "unet"), ("Transformer", "transformer"),
        ("Autoencoder", "vae"), ("VQModel", "vae"), ("Text", "text_encoder"), ("T5", "text_encoder"),
    ):  # fmt: skip
        if mark in class_:
            return role
    return "unknown" if class_ else ""


def _config(reading: _Reading, name: str, role: str) -> Config:
    place = reading.at(name)
    entries = islice(reading.contents[name].items(), MOST)
    settings = {key: Located(value, Location(place, (key,))) for key, value in entries}
    return Config(Location(place), role, _class(reading.contents[name]), settings)


def _weights(reading: _Reading, headers: Mapping[str, Header]) -> dict[str, Weights]:
    """Describe the weights of each component, and join sharded ones."""
    from unnoise.check.read.weights import describe

    whole: dict[str, Header] = {}
    for name, header in list(headers.items())[:MOST]:
        joined = SHARD.sub("", name)
        before = whole.get(joined)
        more = (
            header
            if before is None
            else Header(before.metadata, {**before.tensors, **header.tensors}, before.size + header.size)
        )
        whole[joined] = more
    found = {}
    for name, header in whole.items():
        subject = describe(header, reading.at(name))
        reading.faults += subject.faults
        if subject.weights:
            found[name] = subject.weights[0]
    return found


def _check_files(reading: _Reading, headers: Mapping[str, Header], others: Collection[str]) -> None:
    safe = {str(PurePosixPath(name).parent) for name in headers}
    for name in sorted(others)[:MOST]:
        if name.endswith(PICKLES) and str(PurePosixPath(name).parent) not in safe:
            reading.fault("pickle", name, "is a pickle, which can run code when it is opened; it was not opened")
        elif name.endswith(".safetensors"):
            reading.fault("broken", name, "is not a valid safetensors file")
    for name, content in reading.contents.items():
        if name.endswith(SHARDS):
            _check_shards(reading, name, content)


def _check_shards(reading: _Reading, name: str, content: Mapping[str, Any]) -> None:
    files = shard_files(content)
    if not files:
        reading.fault("broken", name, "does not state the file of each tensor", ("weight_map",))
    for file in files[:MOST]:
        if PurePosixPath(file).name != file or "\\" in file:
            reading.fault("broken", name, f"names a file outside of its folder: {file[:200]!r}", ("weight_map",))
        elif str(PurePosixPath(name).parent / file) not in reading.names:
            reading.fault("missing", name, f"names {file[:200]!r}, which is missing", ("weight_map",))


def _check_index(reading: _Reading, index: Mapping[str, Any]) -> None:
    """Report the components of the index that are missing, unless the folder has no weights at all."""
    if not any(name.endswith(HOLDERS) for name in reading.names):
        return
    for role in listed_components(index):
        inside = [name for name in reading.names if name.startswith(f"{role}/")]
        if not inside and f"{role}.py" not in reading.names:
            reading.fault("missing", INDEX, f"names the component {role}, which has no folder", (role,))
        elif role in NETWORKS and inside and not any(name.endswith(HOLDERS) for name in inside):
            reading.fault("missing", INDEX, f"names the component {role}, whose folder contains no weights", (role,))


def _model(
    reading: _Reading, index: Mapping[str, Any], configs: Mapping[str, Config], weights: Mapping[str, Weights]
) -> NamedModel:
    denoiser = next(
        (part for name, part in weights.items() if PurePosixPath(name).parts[0] in DENOISERS and part.identity.known),
        None,
    )
    identity = denoiser.identity if denoiser is not None else _identity(_class(index), configs)
    schedule = configs.get("scheduler")
    if identity.known and schedule is not None:
        stated = {name: effective(schedule, name) for name in ("prediction_type", "rescale_betas_zero_snr")}
        identity = trained_as(identity, {**stated, "_class_name": schedule.class_})
    place = Location(reading.at(INDEX))
    return NamedModel(PurePosixPath(reading.path).name or reading.path, place, identity, denoiser, dict(configs))


def _identity(pipeline: str, configs: Mapping[str, Config]) -> Identity:
    """Identify the family by the network's settings, else by the class of the pipeline; a variant only by evidence."""
    for role in DENOISERS:
        config = configs.get(role)
        if config is None:
            continue
        named = config.get("_name_or_path")
        if named is not None and isinstance(named.value, str) and (found := by_name(named.value)).known:
            return replace(found, known_by=f"{role}/config.json: _name_or_path {named.value[:100]}")
        found = _of_unet(config) if role == "unet" else _of_transformer(config)
        if found.known:
            return found
    found = by_class(pipeline)
    return replace(found, known_by=f"{INDEX}: {pipeline}") if found.known else found


def _number(config: Config, key: str) -> int | None:
    setting = config.get(key)
    value = setting.value if setting is not None else None
    if isinstance(value, list) and value and all(item == value[0] for item in value):
        value = value[0]
    return value if type(value) is int else None


def _variant(family: str, name: str) -> str:
    return name if name in VARIANTS.get(family, {}) else ""


def _of_unet(config: Config) -> Identity:
    width = _number(config, "cross_attention_dim")
    extra = config.get("addition_embed_type")
    timed = extra is not None and extra.value == "text_time"
    family = UNETS.get((width, timed), "")
    blocks = config.get("down_block_types")
    upscales = blocks is not None and "KDownBlock2D" in str(blocks.value)[:500]
    if not family or config.class_ != "UNet2DConditionModel" or upscales or _number(config, "in_channels") == 7:
        return Identity()
    return Identity(
        family, _unet_variant(config, family, width), known_by=f"unet/config.json: cross_attention_dim {width}"
    )


def _unet_variant(config: Config, family: str, width: int | None) -> str:
    embedded = config.get("time_cond_proj_dim")
    channels, size = _number(config, "in_channels"), _number(config, "sample_size")
    if width == 1280:
        return _variant(family, "refiner")
    if embedded is not None and embedded.value is not None:
        return _variant(family, "lcm")
    if channels in (9, 8, 5):
        return _variant(family, {9: "inpaint", 8: "pix2pix", 5: "depth"}[channels])
    return {64: "base", 96: "768-v"}.get(size or 0, "") if family == "sd2" else ""


def _of_transformer(config: Config) -> Identity:
    found = by_class(config.class_)
    if not found.known:
        return found
    proof = f"{config.role}/config.json: {config.class_}"
    embeds = config.get("guidance_embeds")
    if found.family == "flux1" and embeds is not None and isinstance(embeds.value, bool):
        channels = _number(config, "in_channels")
        name = {384: "fill", 128: "control"}.get(channels or 0, "dev" if embeds.value else "schnell")
        return replace(found, variant=_variant("flux1", name), known_by=f"{proof}, guidance_embeds {embeds.value}")
    return replace(found, known_by=proof)
