"""Read what InvokeAI writes into a picture: `invokeai_metadata`.

Source: invoke-ai/InvokeAI, invokeai/app/invocations/metadata.py and backend/model_manager/taxonomy.py.
"""

from collections.abc import Mapping
from typing import Any

from unnoise.check.read.typed import number, text, whole
from unnoise.check.subject import Fault, Model, Place, Run, Said, Subject, Use
from unnoise.files.families.identity import Identity
from unnoise.files.families.names import by_name

BASES: Mapping[str, tuple[str, str]] = {
    "sd-1": ("sd1", ""), "sd-2": ("sd2", ""), "sd-3": ("sd3", ""), "sdxl": ("sdxl", ""),
    "sdxl-refiner": ("sdxl", "refiner"), "flux": ("flux1", ""), "flux2": ("flux2", ""), "cogview4": ("cogview4", ""),
    "z-image": ("z-image", ""), "qwen-image": ("qwen-image", ""), "wan": ("wan", ""),
}  # fmt: skip
KEYS = ("generation_mode", "positive_prompt", "app_version", "cfg_scale", "scheduler")


def read_metadata(content: dict[str, Any], path: str) -> Subject:
    """Read InvokeAI's record of a picture; content that is none is a Fault."""
    if not any(key in content for key in KEYS):
        place = Place(path)
        return Subject(path=path, faults=(Fault("unknown", place, "holds no record of InvokeAI that is known here"),))
    said = {key: Said(value, Place(path, (key,))) for key, value in content.items()}
    model = _model(said.get("model"))
    loras = content.get("loras")
    listed = loras if isinstance(loras, list) else []
    uses = tuple(use for index, one in enumerate(listed[:100]) if (use := _use(one, index, path, model)))
    mode = content.get("generation_mode")
    tasks = {"img2img": "image", "inpaint": "inpaint", "outpaint": "inpaint"}
    task = next((task for mark, task in tasks.items() if isinstance(mode, str) and mark in mode), "text")
    run = Run(
        place=Place(path),
        tool="invokeai",
        task=task,
        model=model,
        vae=_model(said.get("vae")),
        adapters=uses,
        sampler=text(said.get("scheduler")),
        steps=whole(said.get("steps")),
        guidance=number(said.get("cfg_scale")),
        embedded=number(said.get("guidance")),
        prompt=text(said.get("positive_prompt")),
        negative=text(said.get("negative_prompt")),
        width=whole(said.get("width")),
        height=whole(said.get("height")),
        strength=number(said.get("strength")),
        seed=whole(said.get("seed")),
        seed_device=text(said.get("rand_device")),
        clip_skip=whole(said.get("clip_skip")),
        others=said,
    )
    return Subject(path=path, tool="invokeai", models=(model,) if model else (), runs=(run,))


def _model(said: Said[Any] | None) -> Model | None:
    if said is None or not isinstance(said.value, dict):
        return None
    name, base = said.value.get("name"), said.value.get("base")
    if not isinstance(name, str):
        return None
    place = Place(said.place.path, (*said.place.keys, "name"))
    return Model(name, place, _identity(name, base))


def _identity(name: str, base: Any) -> Identity:
    """Take the family that InvokeAI found; the name may add a variant of it."""
    told = by_name(name)
    if not isinstance(base, str) or base not in BASES:
        return told
    family, variant = BASES[base]
    return told if told.family == family else Identity(family, variant, known_by=f"model.base {base}")


def _use(one: Any, index: int, path: str, base: Model | None) -> Use | None:
    model = _model(Said(one.get("model"), Place(path, ("loras", index, "model")))) if isinstance(one, dict) else None
    if model is None:
        return None
    return Use(model.place, model, base, number(Said(one.get("weight"), Place(path, ("loras", index, "weight")))))
