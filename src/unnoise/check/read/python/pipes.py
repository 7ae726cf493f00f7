"""Follow the changes of a pipeline between its loading and its call: components, adapters, schedulers."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unnoise.check.read.python.models import identify, number_type
from unnoise.check.read.python.state import Arguments, ScriptState
from unnoise.check.read.python.values import (
    UNREAD,
    ComponentValue,
    LoadedAdapter,
    Pipe,
    ScheduleValue,
    Thing,
    Value,
    plain,
)
from unnoise.check.subject import Config, Located, Location, NamedModel, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_class

COMPONENTS = frozenset(
    {"unet", "transformer", "transformer_2", "vae", "vqvae", "vqgan", "movq", "text_encoder", "text_encoder_2",
     "text_encoder_3", "controlnet", "safety_checker", "prior", "decoder", "motion_adapter", "image_encoder",
     "adapter", "feature_extractor", "tokenizer"}
)  # fmt: skip
ADAPTER_LOADERS = {"load_lora_weights": "lora", "load_textual_inversion": "embedding", "load_ip_adapter": "ip_adapter"}
ADAPTER_METHODS = ("set_adapters", "fuse_lora", "unfuse_lora", "unload_lora_weights", "disable_lora", "enable_lora",
            "delete_adapters")  # fmt: skip
MOST = 100  # adapters and notes of one pipeline
DENOISERS = ("unet", "transformer", "prior", "decoder")


def no_schedule(place: Location) -> Config:
    """Stand for a scheduler of unknown class."""
    return Config(place, "scheduler", "", {}, complete=False)


def part_of(walk: ScriptState, thing: Thing, role: str) -> ComponentValue:
    """Return a component of a pipeline."""
    return replace(walk.pipe(thing).parts.get(role, ComponentValue("")), of=thing, role=role)


def set_part(walk: ScriptState, thing: Thing, role: str, value: Value) -> None:
    """Follow `pipe.role = value`, and a component argument of loading."""
    pipe, what = walk.pipe(thing), value.what
    if role == "scheduler":
        place = walk.place(value)
        config = (
            what.config
            if isinstance(what, ScheduleValue)
            else no_schedule(place)
            if what is not None
            else pipe.schedule
        )
        walk.set_pipe(thing, replace(pipe, schedule=config))
        return
    part = what if isinstance(what, ComponentValue) else ComponentValue("")
    if part.of == thing and part.role == role and part.model is None:
        return
    if part.of is not None and part.model is None:
        part = replace(part, model=walk.pipe(part.of).model)
    if role in DENOISERS and what is not None:
        pipe = replace(pipe, model=_with_denoiser(pipe.model, part, value, walk.place(value)))
    if role == "vae":
        pipe = replace(pipe, vae=part.model)
    if role == "controlnet" and part.model is not None:
        use = Use(part.model.place, part.model, pipe.model, parts=("denoiser",), kind="controlnet")
        walk.found.uses.append(use)
        pipe = replace(pipe, adapters=(*pipe.adapters, LoadedAdapter("", use, "controlnet")))
    if role == "motion_adapter" and part.model is not None:
        pipe = replace(pipe, noted={**pipe.noted, role: Located(part.model.name, part.model.place)})
    if role in COMPONENTS:
        pipe = replace(pipe, parts={**pipe.parts, role: part})
    walk.set_pipe(thing, pipe)


def _with_denoiser(model: NamedModel | None, part: ComponentValue, value: Value, place: Location) -> NamedModel | None:
    """Return the model with another network, with the identity of that network."""
    if part.model is not None and model is not None and part.model.name == model.name:
        return model
    identity = part.model.identity if part.model is not None else Identity()
    if not identity.known and part.model is None and value.read:
        identity = by_class(part.class_)
    if model is None:
        return NamedModel(part.model.name if part.model else "", place, identity) if identity.known else None
    return replace(model, identity=identity)


def either_pipe(one: Pipe, other: Pipe) -> Pipe:
    """Join the pipelines of two branches: keep what is equal in both."""
    schedule = one.schedule if one.schedule == other.schedule else None
    if one.schedule != other.schedule:
        schedule = no_schedule((one.schedule or other.schedule or no_schedule(Location(""))).place)
    adapters = tuple(item for item in one.adapters if item in other.adapters)
    sure = one.adapters == other.adapters and one.model == other.model
    model = one.model if sure else None
    if not sure and one.model is not None and one.model == other.model:
        model = replace(one.model, identity=Identity())
    return Pipe(
        one.class_ if one.class_ == other.class_ else "",
        model,
        schedule,
        one.vae if one.vae == other.vae else None,
        adapters,
        one.dtype if one.dtype == other.dtype else None,
        {role: part for role, part in one.parts.items() if other.parts.get(role) == part},
        {key: value for key, value in one.noted.items() if other.noted.get(key) == value},
        one.tool,
        one.foreign or other.foreign,
    )


def on_pipe(walk: ScriptState, thing: Thing, name: str, given: Arguments, node: ast.Call) -> Value | None:
    """Follow a method of a pipeline; None where it does not change it."""
    pipe = walk.pipe(thing)
    if name in ("to", "half", "cuda", "cpu"):
        return _moved(walk, thing, given, node)
    if name in ADAPTER_LOADERS:
        source = given.get("pretrained_model_name_or_path_or_dict", 0) or given.get("pretrained_model_name_or_path")
        listed = source.what if source is not None and isinstance(source.what, list | tuple) else [source]
        for one in listed:
            add_adapter(walk, thing, one, given, node, ADAPTER_LOADERS[name])
    elif name in ADAPTER_METHODS:
        walk.set_pipe(thing, replace(pipe, adapters=_adapters_after(walk, pipe.adapters, name, given)))
    elif name.startswith(("enable_", "disable_")) or name == "upcast_vae":
        how = {key: plain(value) for key, value in given.named.items()}
        note(walk, thing, name, Located(how or True, walk.places.at(node)))
    elif name == "update_components":
        for role, value in given.named.items():
            set_part(walk, thing, role, value)
    elif name.startswith("load_"):
        walk.set_pipe(thing, replace(pipe, foreign=True))
        return Value(UNREAD, node)
    elif name == "set_ip_adapter_scale" and (scale := given.get("scale", 0)) is not None:
        note(walk, thing, "ip_adapter_scale", Located(plain(scale), walk.place(scale)))
    else:
        return None
    return Value(thing, node)


def note(walk: ScriptState, thing: Thing, name: str, located: Located[Any]) -> None:
    """Keep a fact of a pipeline for its later runs, beside their arguments."""
    pipe = walk.pipe(thing)
    if len(pipe.noted) < MOST:
        walk.set_pipe(thing, replace(pipe, noted={**pipe.noted, name: located}))


def _moved(walk: ScriptState, thing: Thing, given: Arguments, node: ast.Call) -> Value:
    for value in (*given.values, *given.named.values()):
        found = number_type(walk.places, value)
        if found is not None:
            walk.set_pipe(thing, replace(walk.pipe(thing), dtype=found))
    return Value(thing, node)


def add_adapter(
    walk: ScriptState, thing: Thing, source: Value | None, given: Arguments, node: ast.AST, kind: str = "lora"
) -> None:
    """Add an adapter to a pipeline; an unknown adapter makes the model unknown."""
    pipe = walk.pipe(thing)
    file, folder = given.get("weight_name"), given.get("subfolder")
    extra = file.what if file is not None and isinstance(file.what, str) else ""
    if source is not None and isinstance(source.what, ComponentValue) and source.what.model is not None:
        name, identity = source.what.model.name, source.what.model.identity
    elif source is not None and isinstance(source.what, str):
        name = f"{source.what}/{extra}" if extra else source.what
        identity = identify(name)
        identity = identity if identity.known else identify(source.what)
    else:
        name, identity = "", Identity()
    place = walk.places.at(source.node if source is not None else node)
    if not name:
        unknown = replace(pipe.model, identity=Identity()) if pipe.model is not None and kind == "lora" else pipe.model
        walk.set_pipe(thing, replace(pipe, model=unknown))
        return
    adapter = NamedModel(name, place, identity)
    if kind == "ip_adapter":
        note(walk, thing, kind, Located(name, place))
        if folder is not None:
            note(walk, thing, "ip_adapter.subfolder", Located(plain(folder), walk.place(folder)))
        return
    use = Use(place, adapter, pipe.model)
    if kind == "embedding":
        use = replace(use, parts=("text",), kind="embedding")
    walk.found.uses.append(use)
    walk.found.models.append(adapter)
    label = given.get("adapter_name")
    added = LoadedAdapter(label.what if label is not None and isinstance(label.what, str) else "", use, kind)
    walk.set_pipe(thing, replace(pipe, adapters=(*pipe.adapters, added)[-MOST:]))


def _adapters_after(
    walk: ScriptState, adapters: Sequence[LoadedAdapter], method: str, given: Arguments
) -> tuple[LoadedAdapter, ...]:
    """Return the adapters of a pipeline after a call of a method that changes them.

    Args:
        walk: the script so far
        adapters: those of the pipeline before the call
        method: one of ADAPTER_METHODS; all but delete_adapters and unfuse_lora change LoRAs only
        given: what the call passes

    Returns:
        the adapters after the call
    """
    match method:
        case "unload_lora_weights":
            return tuple(one for one in adapters if one.kind != "lora" or one.fused)
        case "enable_lora" | "disable_lora":
            active = method == "enable_lora"
            return tuple(replace(one, active=active) if one.kind == "lora" else one for one in adapters)
        case "unfuse_lora":
            return tuple(replace(one, fused=False) for one in adapters)
        case "delete_adapters":
            deleted = _names(given.get("adapter_names", 0))
            return tuple(one for one in adapters if deleted is None or one.name not in deleted)
        case "fuse_lora":
            names, scale = _names(given.get("adapter_names")), given.get("lora_scale")
            return tuple(_fused(walk, one, names, scale) for one in adapters)
        case _:
            names, weights = _names(given.get("adapter_names", 0)), given.get("adapter_weights", 1)
            return tuple(adapters) if names is None else tuple(_set(walk, one, names, weights) for one in adapters)


def _names(value: Value | None) -> list[Any] | None:
    """Return the adapters that a call names, one or several; None where it names none, or where that is unknown."""
    names = plain(value) if value is not None else None
    if isinstance(names, str):
        return [names]
    return list(names) if isinstance(names, list | tuple) else None


def _fused(walk: ScriptState, one: LoadedAdapter, names: list[Any] | None, scale: Value | None) -> LoadedAdapter:
    """Merge a LoRA into the weights, if it is active and among the names; None is all."""
    if one.kind != "lora" or not one.active or (names is not None and one.name not in names):
        return one
    return replace(one, fused=True, use=_at(walk, one.use, scale) if scale is not None else one.use)


def _set(walk: ScriptState, one: LoadedAdapter, names: list[Any], weights: Value | None) -> LoadedAdapter:
    """Activate a LoRA at its weight if it is among the names, else deactivate it."""
    if one.kind != "lora":
        return one
    if one.name not in names:
        return replace(one, active=False)
    weight = weights
    if weights is not None and isinstance(weights.what, list | tuple):
        at = names.index(one.name)
        weight = weights.what[at] if at < len(weights.what) else None
    return replace(one, active=True, use=_at(walk, one.use, weight) if weight is not None else one.use)


def _at(walk: ScriptState, use: Use, strength: Value) -> Use:
    """Return the use of an adapter at a strength; None for an unknown strength."""
    number = strength.what
    known = isinstance(number, int | float) and not isinstance(number, bool) and not strength.swept
    return replace(use, strength=Located(number, walk.place(strength)) if known else None)


def on_part(walk: ScriptState, owner: Value, name: str, given: Arguments, node: ast.Call) -> Value:
    """Follow a method of a component; `loaded` is its new content where the method changes it."""
    part = owner.what
    if name in ("load_attn_procs", "load_lora_adapter") and part.of is not None:
        add_adapter(walk, part.of, given.get("pretrained_model_name_or_path_or_dict", 0), given, node)
    elif name.startswith("load_") and part.of is not None and part.role in DENOISERS:
        walk.set_pipe(part.of, replace(walk.pipe(part.of), foreign=True))
    if name == "to" and part.of is not None and part.role:
        for value in (*given.values, *given.named.values()):
            if (located := number_type(walk.places, value)) is not None:
                note(walk, part.of, f"{part.role}.dtype", located)
    kept = name in ("to", "half", "cuda", "eval", "requires_grad_", "train", "float")
    return owner if kept else Value(UNREAD, node)


def loaded(part: ComponentValue, given: Arguments) -> ComponentValue:
    """Return a component after `load_state_dict`; its content is known only if the file is."""
    source = given.get("state_dict", 0)
    model = source.what.model if source is not None and isinstance(source.what, ComponentValue) else None
    return ComponentValue(part.class_, model, of=part.of, role=part.role)
