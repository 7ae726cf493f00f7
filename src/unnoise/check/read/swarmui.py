"""Read the metadata that SwarmUI writes into an image: {"sui_image_params": {id: value}, "sui_models": [...]}.

An id is the name of a parameter in lower case letters only; numbers may be texts, and lists may be joined by commas.
Samplers and spacings have ComfyUI's names.
Source: mcmonkeyprojects/SwarmUI, docs/Image Metadata Format.md, src/Text2Image/T2IParamTypes.cs
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from unnoise.check.coerce import stated_number, stated_whole, text
from unnoise.check.subject import GenerationRun, Located, Location, NamedModel, ReadFault, Subject, Use
from unnoise.families.names import by_adapter, by_checkpoint, by_name

PARAMETERS = "sui_image_params"
MOST = 100  # LoRAs that are read


def read_metadata(content: Mapping[str, Any], path: str) -> Subject:
    """Read SwarmUI's metadata of an image; a fault if the object is not such metadata."""
    listed = content.get(PARAMETERS)
    if not isinstance(listed, dict):
        fault = ReadFault("unknown", Location(path), "contains no known metadata of SwarmUI")
        return Subject(path=path, faults=(fault,))
    settings = {key: Located(value, Location(path, (PARAMETERS, key))) for key, value in listed.items()}
    run = _run(settings, path)
    return Subject(path=path, tool="swarmui", models=(run.model,) if run.model else (), runs=(run,))


def _run(settings: Mapping[str, Located[Any]], path: str) -> GenerationRun:
    named = text(settings.get("model"))
    model = NamedModel(named.value, named.place, by_checkpoint(named.value)) if named and named.value else None
    vae = text(settings.get("vae"))
    strength = stated_number(settings.get("initimagecreativity"))
    return GenerationRun(
        place=Location(path),
        tool="swarmui",
        task="inpaint" if "maskimage" in settings else "image" if "initimage" in settings or strength else "text",
        model=model,
        vae=NamedModel(vae.value, vae.place, by_name(vae.value)) if vae and vae.value not in ("", "None") else None,
        adapters=tuple(_uses(settings, model)),
        sampler=text(settings.get("sampler")),
        grid=text(settings.get("scheduler")),
        steps=stated_whole(settings.get("steps")),
        guidance=stated_number(settings.get("cfgscale")),
        embedded=stated_number(settings.get("fluxguidancescale")),
        prompt=text(settings.get("prompt")),
        negative=text(settings.get("negativeprompt")),
        width=stated_whole(settings.get("width")),
        height=stated_whole(settings.get("height")),
        frames=stated_whole(settings.get("textvideoframes")),
        batch=stated_whole(settings.get("batchsize")),
        strength=strength,
        shift=stated_number(settings.get("sigmashift")),
        seed=stated_whole(settings.get("seed")),
        clip_skip=stated_whole(settings.get("clipstopatlayer")),
        others=settings,
    )


def _uses(settings: Mapping[str, Located[Any]], base: NamedModel | None) -> Iterator[Use]:
    names, weights = (_list(settings.get(key)) for key in ("loras", "loraweights"))
    for name, weight in zip_longest(names, weights[: len(names)]):
        if isinstance(name.value, str) and name.value:
            adapter = NamedModel(name.value, name.place, by_adapter(name.value))
            yield Use(name.place, adapter, base, stated_number(weight))


def _list(located: Located[Any] | None) -> list[Located[Any]]:
    if located is None:
        return []
    listed = located.value.split(",") if isinstance(located.value, str) else located.value
    return [Located(value, located.place) for value in listed[:MOST]] if isinstance(listed, list) else []
