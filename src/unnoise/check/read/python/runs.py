"""Convert a call of a pipeline to a run: its arguments, and the state of the pipeline at that point."""

import ast
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.check.read.python.pipes import no_schedule
from unnoise.check.read.python.state import Arguments, ScriptState
from unnoise.check.read.python.trials import is_test, is_trial
from unnoise.check.read.python.values import (
    LARGEST,
    UNREAD,
    Noise,
    Picture,
    Pipe,
    Several,
    Thing,
    Value,
    plain,
)
from unnoise.check.subject import GenerationRun, Located, Tool, Use
from unnoise.check.tables import embeds, generic, task
from unnoise.families.identity import Identity

MOST = 500  # runs of one script
WHOLE = {"num_inference_steps": "steps", "width": "width", "height": "height", "num_frames": "frames",
         "num_images_per_prompt": "batch", "num_videos_per_prompt": "batch", "clip_skip": "clip_skip"}  # fmt: skip
NUMBERS = {"strength": "strength", "true_cfg_scale": "guidance", "distilled_guidance_scale": "embedded"}
TEXTS = {"prompt": "prompt", "negative_prompt": "negative"}
MFLUX = {"guidance": "embedded", "steps": "steps", "image_strength": "strength", "negative_prompt": "negative"}
SCALES = ("cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs")
CALL_ARGUMENTS = frozenset(WHOLE) | frozenset(NUMBERS) | {"guidance_scale", "negative_prompt", "generator"}


def run(walk: ScriptState, thing: Thing, given: Arguments, node: ast.Call) -> Value:
    """Follow the call of a pipeline."""
    pipe = walk.pipe(thing)
    strange = not pipe.class_ and pipe.model is None
    if (strange and not CALL_ARGUMENTS & given.named.keys()) or len(walk.found.runs) >= MOST:
        return Value(UNREAD, node)
    named = dict(given.named)
    if given.values:
        named.setdefault("prompt", given.values[0])
    if pipe.tool == "mflux" and (config := named.pop("config", None)) is not None and isinstance(config.what, dict):
        named.update({key: value for key, value in config.what.items() if isinstance(key, str)})
    run = _run(walk, pipe, named, node)
    if given.open or len(given.values) > 1:
        run = replace(run, others={**run.others, "**": Located(UNREAD, walk.places.at(node))})
    if not is_test(walk, run) and not any(replace(run, seed=one.seed) == one for one in walk.found.runs[-20:]):
        walk.found.runs.append(run)
    return Value(UNREAD, node)


def _run(walk: ScriptState, pipe: Pipe, named: Mapping[str, Value], node: ast.Call) -> GenerationRun:
    fields, others = _fields(walk, pipe, named)
    given_task = task(pipe.class_) or _guessed(named)
    schedule = pipe.schedule
    if "scheduler" in named:
        schedule = no_schedule(walk.place(named["scheduler"]))
    shift = schedule.get("shift") or schedule.get("flow_shift") if schedule is not None else None
    tool: Tool = "mflux" if pipe.tool == "mflux" else "diffusers"
    return GenerationRun(
        place=walk.places.at(node),
        tool=tool,
        task=given_task,
        pipeline=pipe.class_,
        model=replace(pipe.model, identity=Identity()) if pipe.model is not None and pipe.foreign else pipe.model,
        vae=pipe.vae,
        adapters=_applied(walk, pipe, named),
        schedule=schedule,
        shift=shift if shift is not None and _number(shift.value) else None,
        dtype=pipe.dtype,
        trial=is_trial(walk, node),
        others={**pipe.noted, **others},
        **fields,
    )


def _guessed(named: Mapping[str, Value]) -> str:
    """Identify the task of a pipeline of unknown class by its arguments."""
    if "mask_image" in named:
        return "inpaint"
    return "image" if "strength" in named and "image" in named else "text"


def _fields(
    walk: ScriptState, pipe: Pipe, named: Mapping[str, Value]
) -> tuple[dict[str, Any], dict[str, Located[Any]]]:
    fields: dict[str, Any] = {}
    others: dict[str, Located[Any]] = {}
    for name, value in named.items():
        located = Located(plain(value), walk.place(value))
        field = _field(pipe, name)
        if value.what is None:
            continue
        if isinstance(value.what, Picture) and value.what.blur:
            others[f"{name}.blur"] = Located(value.what.blur, located.place)
        if name == "generator":
            fields.update(_noise(walk, value))
        elif name == "image" and (size := _size(value)) is not None:
            fields["image_size"] = Located(size, located.place)
            others[name] = located
        elif field and _fits(name, field, located.value):
            fields[field] = located
        elif name in TEXTS and (text := _first_text(located)) is not None:
            fields[TEXTS[name]] = text
            others[name] = located
        else:
            others[name] = located
    return fields, others


def _field(pipe: Pipe, name: str) -> str:
    if pipe.tool == "mflux":
        return MFLUX.get(name) or WHOLE.get(name) or TEXTS.get(name) or ("seed" if name == "seed" else "")
    if name == "guidance_scale":
        facts = pipe.model.facts if pipe.model is not None else None
        unsure = pipe.class_ in ("", "DiffusionPipeline") or pipe.class_.startswith("AutoPipeline")
        taken = facts is not None and facts.embedded is not None and (unsure or facts.distilled == "steps")
        taken = taken or (unsure and pipe.model is not None and embeds(generic(pipe.model.identity)))
        return "embedded" if embeds(pipe.class_) or taken else "guidance"
    return WHOLE.get(name) or NUMBERS.get(name) or TEXTS.get(name) or ""


def _fits(name: str, field: str, value: object) -> bool:
    if name in TEXTS:
        return isinstance(value, str)
    return type(value) is int if field in ("steps", "seed", *WHOLE.values()) else _number(value)


def _number(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < LARGEST
    )


def _first_text(located: Located[Any]) -> Located[str] | None:
    if isinstance(located.value, list | tuple) and located.value and isinstance(located.value[0], str):
        return Located(located.value[0], located.place)
    return None


def _noise(walk: ScriptState, value: Value) -> dict[str, Located[Any]]:
    """Return the seed and the device of a generator or of a list of them."""
    what = value.what
    several = isinstance(what, list | tuple | Several)
    if isinstance(what, Several):
        what = what.one.what
    elif isinstance(what, list | tuple):
        what = what[0].what if what else None
    if not isinstance(what, Noise):
        return {}
    fields: dict[str, Located[Any]] = {}
    if what.seed is not None and type(what.seed.what) is int and not several and abs(what.seed.what) < 1 << 65:
        fields["seed"] = Located(what.seed.what, walk.place(what.seed))
    if what.device is not None and isinstance(what.device.what, str):
        fields["seed_device"] = Located(what.device.what, walk.place(what.device))
    return fields


def _size(value: Value) -> tuple[int, int] | None:
    return value.what.size if isinstance(value.what, Picture) else None


def _applied(walk: ScriptState, pipe: Pipe, named: Mapping[str, Value]) -> tuple[Use, ...]:
    """Return the active adapters of a call, with the strength that the call sets."""
    scale: Value | None = None
    for name in SCALES:
        table = named.get(name)
        if table is not None and isinstance(table.what, dict):
            scale = table.what.get("scale", scale)
    uses = []
    for item in pipe.adapters:
        if not (item.active or item.fused):
            continue
        strength = item.use.strength
        requested = (
            scale
            if item.kind == "lora"
            else named.get("controlnet_conditioning_scale")
            if item.kind == "controlnet"
            else None
        )
        if requested is not None and strength is None and _number(requested.what):
            strength = Located(requested.what, walk.place(requested))
        uses.append(replace(item.use, strength=strength, base=item.use.base or pipe.model))
    return tuple(uses)
