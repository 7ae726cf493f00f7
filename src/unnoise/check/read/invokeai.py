"""Read the metadata that InvokeAI writes into an image: `invokeai_metadata`, and `sd-metadata` of versions before 3.

Source: invoke-ai/InvokeAI, invokeai/app/invocations/metadata.py, backend/model_manager/taxonomy.py;
version 2: ldm/invoke/pngwriter.py and backend/image_util/pngwriter.py
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.coerce import number, text, whole
from unnoise.check.subject import GenerationRun, Kind, Located, Location, NamedModel, ReadFault, Subject, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_checkpoint

BASES: Mapping[str, tuple[str, str]] = {
    "sd-1": ("sd1", ""), "sd-2": ("sd2", ""), "sd-3": ("sd3", ""), "sdxl": ("sdxl", ""),
    "sdxl-refiner": ("sdxl", "refiner"), "flux": ("flux1", ""), "flux2": ("flux2", ""), "cogview4": ("cogview4", ""),
    "z-image": ("z-image", ""), "qwen-image": ("qwen-image", ""), "wan": ("wan", ""),
}  # fmt: skip
KEYS = ("generation_mode", "positive_prompt", "app_version", "cfg_scale", "scheduler")
TASKS = {"img2img": "image", "inpaint": "inpaint", "outpaint": "inpaint"}  # words of generation_mode
# Keys of version 2 within "image", and their later names.
LEGACY = {
    "sampler": "scheduler", "type": "generation_mode", "steps": "steps", "cfg_scale": "cfg_scale", "seed": "seed",
    "width": "width", "height": "height", "strength": "strength",
}  # fmt: skip
MOST = 100  # adapters that are read


def read_metadata(content: dict[str, Any], path: str) -> Subject:
    """Read InvokeAI's metadata of an image; a fault if the object is not such metadata."""
    legacy = content.get("image")
    if isinstance(legacy, dict) and ("model_weights" in content or "app_id" in content):
        settings = _legacy(content, legacy, path)
    elif any(key in content for key in KEYS):
        settings = {key: Located(value, Location(path, (key,))) for key, value in content.items()}
    else:
        place = Location(path)
        return Subject(path=path, faults=(ReadFault("unknown", place, "contains no known metadata of InvokeAI"),))
    run = _run(settings, path)
    return Subject(path=path, tool="invokeai", models=(run.model,) if run.model else (), runs=(run,))


def _run(settings: Mapping[str, Located[Any]], path: str) -> GenerationRun:
    model = _model(settings.get("model"))
    mode = text(settings.get("generation_mode"))
    return GenerationRun(
        place=Location(path),
        tool="invokeai",
        task=next((task for word, task in TASKS.items() if mode and word in mode.value), "text"),
        model=model,
        vae=_model(settings.get("vae")),
        adapters=(*_uses(settings, "loras", ("model", "lora"), "weight", model), *_nets(settings, model)),
        sampler=text(settings.get("scheduler")),
        steps=whole(settings.get("steps")),
        guidance=number(settings.get("cfg_scale")),
        embedded=number(settings.get("guidance")),
        prompt=text(settings.get("positive_prompt")),
        negative=text(settings.get("negative_prompt")),
        width=whole(settings.get("width")),
        height=whole(settings.get("height")),
        strength=number(settings.get("strength")),
        seed=whole(settings.get("seed")),
        seed_device=text(settings.get("rand_device")),
        clip_skip=whole(settings.get("clip_skip")),
        others=settings,
    )


def _legacy(content: Mapping[str, Any], image: Mapping[str, Any], path: str) -> dict[str, Located[Any]]:
    """Convert metadata of version 2 to today's keys; its prompt is a list of parts with weights."""
    known = {LEGACY[key]: Located(image[key], Location(path, ("image", key))) for key in LEGACY if key in image}
    parts = image.get("prompt")
    first = parts[0] if isinstance(parts, list) and parts else parts
    words = first.get("prompt") if isinstance(first, dict) else first
    known["positive_prompt"] = Located(words, Location(path, ("image", "prompt")))
    for key in ("app_version", "model_hash"):
        if key in content:
            known[key] = Located(content[key], Location(path, (key,)))
    return known | {"model": Located({"name": content.get("model_weights")}, Location(path, ("model_weights",)))}


def _model(located: Located[Any] | None) -> NamedModel | None:
    """Read a model: {name, base, ...}, or {model_name, base_model, ...} as version 3 wrote it."""
    fields = located.value if located is not None and isinstance(located.value, dict) else {}
    key = "name" if "name" in fields else "model_name"
    name = fields.get(key)
    if located is None or not isinstance(name, str) or not name:
        return None
    place = located.place if located.place.keys[-1:] == ("model_weights",) else _inner(located.place, key)
    return NamedModel(name, place, _identity(name, fields.get("base", fields.get("base_model"))))


def _inner(place: Location, *keys: str | int) -> Location:
    return Location(place.path, (*place.keys, *keys))


def _identity(name: str, base: Any) -> Identity:
    """Return the family that InvokeAI found; the name may add a variant."""
    named = by_checkpoint(name)
    if not isinstance(base, str) or base not in BASES:
        return named
    family, variant = BASES[base]
    return named if named.family == family else Identity(family, variant, known_by=f"model.base {base}")


KINDS: Mapping[str, Kind] = {"controlnets": "controlnet", "ipAdapters": "ip_adapter"}


def _nets(settings: Mapping[str, Located[Any]], base: NamedModel | None) -> Iterator[Use]:
    yield from _uses(settings, "controlnets", ("control_model",), "control_weight", base, ("denoiser",))
    yield from _uses(settings, "ipAdapters", ("ip_adapter_model",), "weight", base, ("denoiser",))


def _uses(
    settings: Mapping[str, Located[Any]],
    key: str,
    names: tuple[str, ...],
    weight: str,
    base: NamedModel | None,
    parts: tuple[str, ...] = ("denoiser", "text"),
) -> Iterator[Use]:
    """List the adapters: a list of {model, weight}."""
    listed = settings.get(key)
    for at, one in enumerate(listed.value[:MOST] if listed and isinstance(listed.value, list) else ()):
        name = next((name for name in names if isinstance(one, dict) and name in one), "")
        model = _model(Located(one[name], _inner(listed.place, at, name))) if listed and name else None
        if listed and model is not None:
            strength = number(Located(one.get(weight), _inner(listed.place, at, weight)))
            yield Use(model.place, model, base, strength, parts, KINDS.get(key, "lora"))
