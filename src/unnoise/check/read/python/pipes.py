"""Follow what is done to a pipeline between its loading and its call: components, adapters, schedulers."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unnoise.check.read.python.models import identify, number_type
from unnoise.check.read.python.state import Arguments, State
from unnoise.check.read.python.values import UNREAD, Part, Pipe, Schedule, Thing, Value, Worn, plain
from unnoise.check.subject import Config, Model, Place, Said, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_class

COMPONENTS = frozenset(
    {"unet", "transformer", "transformer_2", "vae", "vqvae", "vqgan", "movq", "text_encoder", "text_encoder_2",
     "text_encoder_3", "controlnet", "safety_checker", "prior", "decoder", "motion_adapter", "image_encoder",
     "adapter", "feature_extractor", "tokenizer"}
)  # fmt: skip
WEARING = {"load_lora_weights": "lora", "load_textual_inversion": "embedding", "load_ip_adapter": "ip_adapter"}
ADAPTERS = ("set_adapters", "fuse_lora", "unfuse_lora", "unload_lora_weights", "disable_lora", "enable_lora",
            "delete_adapters")  # fmt: skip
MOST = 100  # adapters and notes of one pipeline
DENOISERS = ("unet", "transformer", "prior", "decoder")


def no_schedule(place: Place) -> Config:
    """Stand for a scheduler of which not even the class is known."""
    return Config(place, "scheduler", "", {}, complete=False)


def part_of(walk: State, thing: Thing, role: str) -> Part:
    """Give a component of a pipeline."""
    return replace(walk.pipe(thing).parts.get(role, Part("")), of=thing, role=role)


def set_part(walk: State, thing: Thing, role: str, value: Value) -> None:
    """Follow `pipe.role = value`, and a component that is given at loading."""
    pipe, what = walk.pipe(thing), value.what
    if role == "scheduler":
        place = walk.places.at(value.node)
        config = (
            what.config if isinstance(what, Schedule) else no_schedule(place) if what is not None else pipe.schedule
        )
        walk.set_pipe(thing, replace(pipe, schedule=config))
        return
    part = what if isinstance(what, Part) else Part("")
    if part.of == thing and part.role == role and part.model is None:
        return
    if part.of is not None and part.model is None:
        part = replace(part, model=walk.pipe(part.of).model)
    if role in DENOISERS and what is not None:
        pipe = replace(pipe, model=_with_denoiser(pipe.model, part, value, walk.places.at(value.node)))
    if role == "vae":
        pipe = replace(pipe, vae=part.model)
    if role == "controlnet" and part.model is not None:
        use = Use(part.model.place, part.model, pipe.model, parts=("denoiser",), kind="controlnet")
        walk.found.uses.append(use)
        pipe = replace(pipe, worn=(*pipe.worn, Worn("", use, "controlnet")))
    if role == "motion_adapter" and part.model is not None:
        pipe = replace(pipe, noted={**pipe.noted, role: Said(part.model.name, part.model.place)})
    if role in COMPONENTS:
        pipe = replace(pipe, parts={**pipe.parts, role: part})
    walk.set_pipe(thing, pipe)


def _with_denoiser(model: Model | None, part: Part, value: Value, place: Place) -> Model | None:
    """Give the model with another network: what is known of it is what is known of that network."""
    if part.model is not None and model is not None and part.model.name == model.name:
        return model
    identity = part.model.identity if part.model is not None else Identity()
    if not identity.known and part.model is None and value.read:
        identity = by_class(part.class_)
    if model is None:
        return Model(part.model.name if part.model else "", place, identity) if identity.known else None
    return replace(model, identity=identity)


def either_pipe(one: Pipe, other: Pipe) -> Pipe:
    """Join a pipeline as two branches leave it: what they agree on."""
    schedule = one.schedule if one.schedule == other.schedule else None
    if one.schedule != other.schedule:
        schedule = no_schedule((one.schedule or other.schedule or no_schedule(Place(""))).place)
    worn = tuple(item for item in one.worn if item in other.worn)
    sure = one.worn == other.worn and one.model == other.model
    model = one.model if sure else None
    if not sure and one.model is not None and one.model == other.model:
        model = replace(one.model, identity=Identity())
    return Pipe(
        one.class_ if one.class_ == other.class_ else "",
        model,
        schedule,
        one.vae if one.vae == other.vae else None,
        worn,
        one.dtype if one.dtype == other.dtype else None,
        {role: part for role, part in one.parts.items() if other.parts.get(role) == part},
        {key: said for key, said in one.noted.items() if other.noted.get(key) == said},
        one.tool,
    )


def on_pipe(walk: State, thing: Thing, name: str, given: Arguments, node: ast.Call) -> Value | None:
    """Follow a method of a pipeline; None where it is none that changes it."""
    pipe = walk.pipe(thing)
    if name in ("to", "half", "cuda", "cpu"):
        return _moved(walk, thing, given, node)
    if name in WEARING:
        source = given.get("pretrained_model_name_or_path_or_dict", 0) or given.get("pretrained_model_name_or_path")
        listed = source.what if source is not None and isinstance(source.what, list | tuple) else [source]
        for one in listed:
            wear(walk, thing, one, given, node, WEARING[name])
    elif name in ADAPTERS:
        walk.set_pipe(thing, replace(pipe, worn=_adapters(walk, pipe.worn, name, given)))
    elif name.startswith(("enable_", "disable_")) or name == "upcast_vae":
        how = {key: plain(value) for key, value in given.named.items()}
        _note(walk, thing, name, Said(how or True, walk.places.at(node)))
    elif name == "update_components":
        for role, value in given.named.items():
            set_part(walk, thing, role, value)
    elif name == "set_ip_adapter_scale" and (scale := given.get("scale", 0)) is not None:
        _note(walk, thing, "ip_adapter_scale", Said(plain(scale), walk.places.at(scale.node)))
    else:
        return None
    return Value(thing, node)


def _note(walk: State, thing: Thing, name: str, said: Said[Any]) -> None:
    pipe = walk.pipe(thing)
    if len(pipe.noted) < MOST:
        walk.set_pipe(thing, replace(pipe, noted={**pipe.noted, name: said}))


def _moved(walk: State, thing: Thing, given: Arguments, node: ast.Call) -> Value:
    for value in (*given.values, *given.named.values()):
        found = number_type(walk.places, value)
        if found is not None:
            walk.set_pipe(thing, replace(walk.pipe(thing), dtype=found))
    return Value(thing, node)


def wear(walk: State, thing: Thing, source: Value | None, given: Arguments, node: ast.AST, kind: str = "lora") -> None:
    """Put an adapter on a pipeline; one that cannot be told makes the model unknown."""
    pipe = walk.pipe(thing)
    file, folder = given.get("weight_name"), given.get("subfolder")
    extra = file.what if file is not None and isinstance(file.what, str) else ""
    if source is not None and isinstance(source.what, Part) and source.what.model is not None:
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
    adapter = Model(name, place, identity)
    if kind == "ip_adapter":
        _note(walk, thing, kind, Said(name, place))
        if folder is not None:
            _note(walk, thing, "ip_adapter.subfolder", Said(plain(folder), walk.places.at(folder.node)))
        return
    use = Use(place, adapter, pipe.model)
    if kind == "embedding":
        use = replace(use, parts=("text",), kind="embedding")
    walk.found.uses.append(use)
    walk.found.models.append(adapter)
    label = given.get("adapter_name")
    worn = Worn(label.what if label is not None and isinstance(label.what, str) else "", use, kind)
    walk.set_pipe(thing, replace(pipe, worn=(*pipe.worn, worn)[-MOST:]))


def _adapters(walk: State, worn: Sequence[Worn], name: str, given: Arguments) -> tuple[Worn, ...]:
    """Give the adapters as a method of diffusers leaves them; only LoRAs are concerned."""
    if name == "unload_lora_weights":
        return tuple(item for item in worn if item.kind != "lora" or item.fused)
    if name in ("disable_lora", "enable_lora"):
        return tuple(replace(item, on=name == "enable_lora") if item.kind == "lora" else item for item in worn)
    if name == "unfuse_lora":
        return tuple(replace(item, fused=False) for item in worn)
    names = given.get("adapter_names", 0 if name != "fuse_lora" else None)
    wanted = plain(names) if names is not None else None
    listed = [wanted] if isinstance(wanted, str) else wanted
    if name == "delete_adapters":
        return tuple(item for item in worn if not (isinstance(listed, list) and item.name in listed))
    if name == "fuse_lora":
        scale = given.get("lora_scale")
        return tuple(_fused(walk, item, listed, scale) for item in worn)
    weights = given.get("adapter_weights", 1)
    return tuple(_set(walk, item, listed, weights) for item in worn)


def _fused(walk: State, item: Worn, listed: Any, scale: Value | None) -> Worn:
    if item.kind != "lora" or not item.on or (isinstance(listed, list) and item.name not in listed):
        return item
    return replace(item, fused=True, use=_at(walk, item.use, scale) if scale is not None else item.use)


def _set(walk: State, item: Worn, listed: Any, weights: Value | None) -> Worn:
    if item.kind != "lora" or not isinstance(listed, list | tuple):
        return item
    if item.name not in listed:
        return replace(item, on=False)
    weight = weights
    if weights is not None and isinstance(weights.what, list | tuple):
        at = list(listed).index(item.name)
        weight = weights.what[at] if at < len(weights.what) else None
    return replace(item, on=True, use=_at(walk, item.use, weight) if weight is not None else item.use)


def _at(walk: State, use: Use, strength: Value) -> Use:
    """Give the use of an adapter at a strength; one that is not known leaves it unsaid."""
    number = strength.what
    known = isinstance(number, int | float) and not isinstance(number, bool)
    return replace(use, strength=Said(number, walk.places.at(strength.node)) if known else None)


def on_part(walk: State, owner: Value, name: str, given: Arguments, node: ast.Call) -> Value:
    """Follow a method of a component; `loaded` says what it is where the method changes it."""
    part = owner.what
    if name in ("load_attn_procs", "load_lora_adapter") and part.of is not None:
        wear(walk, part.of, given.get("pretrained_model_name_or_path_or_dict", 0), given, node)
    if name == "to" and part.of is not None and part.role:
        for value in (*given.values, *given.named.values()):
            if (said := number_type(walk.places, value)) is not None:
                _note(walk, part.of, f"{part.role}.dtype", said)
    kept = name in ("to", "half", "cuda", "eval", "requires_grad_", "train", "float")
    return owner if kept else Value(UNREAD, node)


def loaded(part: Part, given: Arguments) -> Part:
    """Give a component after `load_state_dict`: what it is now is known only where the file is."""
    source = given.get("state_dict", 0)
    model = source.what.model if source is not None and isinstance(source.what, Part) else None
    return Part(part.class_, model, of=part.of, role=part.role)
