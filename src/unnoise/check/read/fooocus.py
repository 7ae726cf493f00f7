"""Read Fooocus: the metadata that it and RuinedFooocus write, and its presets, whose keys begin with "default_".

Samplers and spacings have ComfyUI's names. A performance of few steps adds a LoRA and sets the guidance scale to 1.
Source: lllyasviel/Fooocus, modules/meta_parser.py, FooocusMetadataParser; modules/async_worker.py; presets/;
runew0lf/RuinedFooocus, modules/async_worker.py
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.coerce import stated_number, stated_whole, text
from unnoise.check.subject import GenerationRun, Located, Location, NamedModel, Subject, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_adapter, by_checkpoint, by_hash, by_name

RECORD, PRESET = "base_model", "default_model"  # a key that each has
# Keys of a preset without "default_", and those of an image for them.
NAMES = {
    "model": "base_model", "cfg_scale": "guidance_scale", "prompt_negative": "negative_prompt",
    "aspect_ratio": "resolution",
}  # fmt: skip
# Performances of few steps, and the LoRA that each adds.   Source: modules/flags.py, PerformanceLoRA
FEW = {"Extreme Speed": "lcm", "Lightning": "lightning", "Hyper-SD": "hyper"}
# Keys of RuinedFooocus, and Fooocus's for them.
RUINED = {
    "Prompt": "prompt", "Negative": "negative_prompt", "cfg": "guidance_scale", "sampler_name": "sampler",
    "base_model_name": "base_model",
}  # fmt: skip
TAG = re.compile(r"<([^:<>]{1,200}):(-?[\d.]{1,10})>")  # of a LoRA in older versions of RuinedFooocus
SIDES = re.compile(r"\(?(\d{1,5})\s*[,*×x]\s*(\d{1,5})\)?")
DEFAULT = ("", "None", "Default (model)")  # choices that name no file
MOST = 100  # LoRAs that are read


def is_record(content: Mapping[str, Any]) -> bool:
    """Return whether an object is metadata or a preset of Fooocus."""
    stated = RECORD in content and ("metadata_scheme" in content or "performance" in content)
    return stated or (PRESET in content and "default_cfg_scale" in content) or _is_ruined(content)


def _is_ruined(content: Mapping[str, Any]) -> bool:
    return content.get("software") == "RuinedFooocus"


def read_record(content: Mapping[str, Any], path: str) -> Subject:
    """Read metadata of an image, or a preset."""
    settings: dict[str, Located[Any]] = {}
    for key, value in content.items():
        plain = key.removeprefix("default_") if PRESET in content else key
        names, found = NAMES, value
        if _is_ruined(content):
            names, found = RUINED, _pairs(value) if key == "loras" else value
        settings[names.get(plain, plain)] = Located(found, Location(path, (key,)))
    run = _run(settings, path)
    return Subject(path=path, tool="fooocus", models=(run.model,) if run.model else (), runs=(run,))


def _pairs(loras: Any) -> list[list[Any]]:
    """Return the LoRAs of RuinedFooocus as [name, weight], from "<name:weight>" or [hash, "weight - name"]."""
    if isinstance(loras, str):
        return [[name, weight] for name, weight in TAG.findall(loras[: MOST * 250])]
    named = (
        [one[1] for one in loras[:MOST] if isinstance(one, list) and len(one) == 2] if isinstance(loras, list) else []
    )
    split = [text_.partition(" - ") for text_ in named if isinstance(text_, str)]
    return [[name, weight] for weight, _, name in split]


def _run(settings: Mapping[str, Located[Any]], path: str) -> GenerationRun:
    model = _model(settings)
    performance = text(settings.get("performance"))
    few = FEW.get(performance.value, "") if performance else ""
    resolution = text(settings.get("resolution"))
    sides = SIDES.match(resolution.value) if resolution else None
    vae = text(settings.get("vae"))
    return GenerationRun(
        place=Location(path),
        tool="fooocus",
        model=model,
        vae=NamedModel(vae.value, vae.place, by_name(vae.value)) if vae and vae.value not in DEFAULT else None,
        adapters=(*_added(few, performance, model), *_uses(settings, model)),
        sampler=text(settings.get("sampler")),
        grid=text(settings.get("scheduler")),
        steps=stated_whole(settings.get("steps")),
        guidance=None if few else stated_number(settings.get("guidance_scale")),
        prompt=text(settings.get("prompt")),
        negative=text(settings.get("negative_prompt")),
        width=Located(int(sides[1]), resolution.place) if sides and resolution else stated_whole(settings.get("width")),
        height=Located(int(sides[2]), resolution.place)
        if sides and resolution
        else stated_whole(settings.get("height")),
        seed=stated_whole(settings.get("seed")),
        clip_skip=stated_whole(settings.get("clip_skip")),
        others=settings,
    )


def _model(settings: Mapping[str, Located[Any]]) -> NamedModel | None:
    named, stated = text(settings.get("base_model")), text(settings.get("base_model_hash"))
    if named is None or named.value in DEFAULT:
        return None
    known = by_hash(stated.value) if stated else Identity()
    return NamedModel(named.value, named.place, known if known.known else by_checkpoint(named.value))


def _added(few: str, performance: Located[str] | None, base: NamedModel | None) -> Iterator[Use]:
    """Yield the LoRA of a performance of few steps."""
    if few and performance is not None:
        identity = Identity("sdxl", few, known_by=f"performance {performance.value}")
        yield Use(performance.place, NamedModel(performance.value, performance.place, identity), base)


def _uses(settings: Mapping[str, Located[Any]], base: NamedModel | None) -> Iterator[Use]:
    """List the LoRAs: [name, weight, hash], or in a preset [used, name, weight]."""
    listed = settings.get("loras")
    for one in listed.value[:MOST] if listed and isinstance(listed.value, list) else ():
        fields = one if isinstance(one, list) else []
        if fields[:1] == [False]:
            continue
        name, weight = (*(fields[1:] if fields[:1] == [True] else fields), None, None)[:2]
        if listed and isinstance(name, str) and name not in DEFAULT:
            strength = stated_number(Located(weight, listed.place))
            yield Use(listed.place, NamedModel(name, listed.place, by_adapter(name)), base, strength)
