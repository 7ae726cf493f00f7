"""Follow calls that create pipelines, components, schedulers, noise and images."""

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.check.read.python.foreign import is_foreign, mark, mark_changed
from unnoise.check.read.python.models import identify, identify_base, number_type
from unnoise.check.read.python.pipes import add_adapter, note, set_part
from unnoise.check.read.python.state import Arguments, ScriptState
from unnoise.check.read.python.values import (
    MOST,
    UNREAD,
    ComponentValue,
    Noise,
    Picture,
    Pipe,
    ScheduleSettings,
    ScheduleValue,
    Thing,
    Value,
    plain,
    size_of,
)
from unnoise.check.subject import Config, Located, Location, NamedModel
from unnoise.check.tables import accepts, defaults, fits_any, shipped
from unnoise.families.identity import Identity
from unnoise.families.names import by_class

LOADERS = ("from_pretrained", "from_single_file", "from_ckpt", "from_config", "load_config")
GENERIC = ("DiffusionPipeline", "AutoPipelineFor")  # classes that load any family
COPIED = "pipeline.module"  # of a class that is not imported from diffusers and may have other arguments
ENVIRONMENT = ("os.getenv", "os.environ.get")
KEEPERS = frozenset({"compile", "unwrap_model", "prepare_model"})
NO_OPTIONS = frozenset({"subfolder", "revision", "variant", "cache_dir", "local_files_only", "token", "use_auth_token",
                        "force_download", "return_unused_kwargs", "proxies", "mirror"})  # fmt: skip


def build(walk: ScriptState, dotted: str, given: Arguments, node: ast.Call) -> Value:
    """Return the result of a call of something imported; UNREAD where it is unknown."""
    owner, _, last = dotted.rpartition(".")
    class_ = owner.rpartition(".")[2]
    if dotted.startswith("mflux"):
        return _mflux(walk, dotted, given, node)
    if last in LOADERS and class_[:1].isupper():
        return _marked(walk, owner, given, _load(walk, class_, last, given, node))
    if last == "from_pipe" and class_[:1].isupper():
        return _marked(walk, owner, given, _from_pipe(walk, class_, given, node))
    if last.endswith("Scheduler") and last[:1].isupper():
        names = list(defaults(last) or ())
        placed = dict(zip(names, given.values, strict=False))
        given = Arguments((), {**placed, **given.named}, given.open)
        config = Config(walk.places.at(node), "scheduler", last, _settings(walk, given), not given.open)
        walk.found.configs.append(config)
        return Value(ScheduleValue(config), node)
    if last.endswith("Pipeline") and last[:1].isupper():
        if "components" in given.named:
            return _marked(walk, dotted, given, _from_pipe(walk, last, Arguments((given.named["components"],)), node))
        return _marked(walk, dotted, given, _pipeline(walk, last, Value("", node), "", given, node))
    mark_changed(walk, dotted, given)
    return _other(dotted, last, given, node)


def _marked(walk: ScriptState, class_: str, given: Arguments, made: Value) -> Value:
    """Return what a class makes, marked where its code is not that of diffusers."""
    thing = made.what
    if isinstance(thing, Thing) and thing.kind == "pipe":
        if is_foreign(class_) or given.get("custom_pipeline"):
            mark(walk, thing)
        module = class_.rpartition(".")[0]
        if module and not module.startswith("diffusers"):
            note(walk, thing, COPIED, Located(module, walk.places.at(made.node)))
    return made


def _other(dotted: str, last: str, given: Arguments, node: ast.Call) -> Value:
    first = given.get("", 0)
    if dotted in ENVIRONMENT and (default := given.get("default", 1)) is not None:
        return replace(default, weak=True)
    if last == "Generator":
        return Value(Noise(None, given.get("device", 0) or Value("cpu", node)), node)
    if last == "manual_seed" and "cuda" not in dotted:
        return Value(Noise(given.get("seed", 0), Value("cpu", node)), node)
    if last in ("load_image", "imread") or dotted.endswith("Image.open"):
        named = first or given.get("image") or given.get("fp")
        text = named.what if named is not None else UNREAD
        return Value(Picture(text) if isinstance(text, str) else UNREAD, node)
    if dotted.endswith("Image.new"):
        return Value(Picture("", size_of(given.get("size", 1))), node)
    if last == "hf_hub_download":
        names = [plain(part) for part in (given.get("repo_id", 0), given.get("filename", 1)) if part is not None]
        return Value("/".join(names) if names and all(isinstance(name, str) for name in names) else UNREAD, node)
    if dotted.endswith("path.join") and given.values and not given.open:
        names = [value.what for value in given.values]
        return Value("/".join(names) if all(isinstance(name, str) for name in names) else UNREAD, node)
    if last in ("load_file", "safetensors_load_file") and first is not None and isinstance(first.what, str):
        model = NamedModel(first.what, Location(""), identify(first.what))
        return Value(ComponentValue("", model), node)
    if first is not None and (dotted in ("torch.device", "copy.copy", "copy.deepcopy") or last in KEEPERS):
        return first
    return Value(Thing("parser", id(node)) if last == "ArgumentParser" else UNREAD, node)


def _load(walk: ScriptState, class_: str, how: str, given: Arguments, node: ast.Call) -> Value:
    source = given.get("pretrained_model_link_or_path_or_dict" if how == "from_single_file" else "", 0)
    source = source or given.get("pretrained_model_name_or_path") or given.get("pretrained_model_link_or_path")
    source = source or given.get("config") or Value(UNREAD, node)
    if class_.endswith("Scheduler"):
        if how == "load_config":
            return Value(ScheduleSettings(None), node)
        return Value(ScheduleValue(_schedule(walk, class_, source, given, node)), node)
    if class_.endswith("Pipeline") or class_.startswith("AutoPipelineFor"):
        return _pipeline(walk, class_, source, how, given, node)
    name = source.what if isinstance(source.what, str) else ""
    if not name:
        return Value(ComponentValue(class_), node)
    model = NamedModel(name, walk.place(source), identify(name))
    walk.found.models.append(model)
    return Value(ComponentValue(class_, model), node)


def _schedule(walk: ScriptState, class_: str, source: Value, given: Arguments, node: ast.Call) -> Config:
    """Follow `B.from_config(a.config, key=value)` and `B.from_pretrained(repository, key=value)`."""
    settings = {
        key: what
        for key, what in _settings(walk, given).items()
        if key not in (*NO_OPTIONS, "config", "pretrained_model_name_or_path")
    }
    before, complete, inherited, of = "", False, {}, Identity()
    if isinstance(source.what, ScheduleSettings):
        of = _model_of(walk, source.what.of)
        config = source.what.config or _shipped(of)
        if config is not None:
            before, complete = config.class_, config.complete
            kept = [key for key in config.settings if accepts(config.class_, key)]
            inherited = {key: config.settings[key] for key in kept[:MOST]}
    elif isinstance(source.what, dict):
        complete = not given.open
        inherited = {str(key): Located(plain(value), walk.place(value)) for key, value in source.what.items()}
    elif isinstance(source.what, str):
        of = identify(source.what)
        found = shipped(of)
        before = found.class_ if found is not None else ""
    place = walk.places.at(node)
    config = Config(place, "scheduler", class_, {**inherited, **settings}, complete and not given.open, before, of)
    walk.found.configs.append(config)
    return config


def _model_of(walk: ScriptState, thing: Thing | None) -> Identity:
    """Return the identity of a pipeline's model; Identity() where it is not known."""
    model = walk.pipe(thing).model if thing is not None else None
    return model.identity if model is not None else Identity()


def _shipped(identity: Identity) -> Config | None:
    """Return the class of the published scheduler of a model, where it is known."""
    found = shipped(identity)
    return Config(Location(""), "scheduler", found.class_, {}, complete=False) if found is not None else None


def _settings(walk: ScriptState, given: Arguments) -> dict[str, Located[Any]]:
    return {key: Located(plain(value), walk.place(value)) for key, value in given.named.items()}


def _pipeline(walk: ScriptState, class_: str, source: Value, how: str, given: Arguments, node: ast.Call) -> Value:
    """Follow the loading of a pipeline, with its component arguments."""
    name = source.what if isinstance(source.what, str) else ""
    custom = given.get("custom_pipeline")
    if custom is not None:
        class_ = custom.what if isinstance(custom.what, str) else ""
    identity = _identity(class_, name, how)
    model = NamedModel(name, walk.place(source), identity) if name or identity.known else None
    if how and not isinstance(source.what, str):
        model = None
    settings = {key: what for key, what in _settings(walk, given).items() if key not in ("torch_dtype", "dtype")}
    noted = {f"{how}.{key}": what for key, what in settings.items() if how and what.value is not UNREAD}
    thing = walk.new_pipe(Pipe(class_, model, dtype=dtype_of(walk, given), noted=noted))
    _components(walk, thing, given)
    if (now := walk.pipe(thing).model) is not None:
        walk.found.models.append(now)
    return Value(thing, node)


def _identity(class_: str, name: str, how: str) -> Identity:
    """Identify the model of a pipeline by its published name, else by its class; it is unknown if these differ.

    A class of any family leaves the name of a fine-tune.
    """
    found, family = identify(name), by_class(class_)
    if found.known:
        return found if found.family == family.family or (not family.known and fits_any(class_)) else Identity()
    if not family.known and class_.startswith(GENERIC):
        return identify_base(name)
    return family if name or not how else Identity()


def _components(walk: ScriptState, thing: Thing, given: Arguments) -> None:
    for role, value in given.named.items():
        if (
            role == "scheduler"
            or isinstance(value.what, ComponentValue | ScheduleValue)
            or role in ("unet", "transformer", "prior")
        ):
            set_part(walk, thing, role, value)
        elif role == "controlnet":
            for one in value.what if isinstance(value.what, list | tuple) else ():
                set_part(walk, thing, role, one)


def dtype_of(walk: ScriptState, given: Arguments) -> Located[str] | None:
    """Return the dtype that a pipeline or a component is loaded in."""
    value = given.get("torch_dtype") or given.get("dtype")
    if value is None:
        return None
    if isinstance(value.what, dict):
        value = value.what.get("default")
    return number_type(walk.places, value)


def _from_pipe(walk: ScriptState, class_: str, given: Arguments, node: ast.Call) -> Value:
    source = given.get("pipeline", 0)
    if source is None or not isinstance(source.what, Thing) or source.what.kind != "pipe":
        return Value(walk.new_pipe(Pipe(class_)), node)
    thing = walk.new_pipe(replace(walk.pipe(source.what), class_=class_))
    _components(walk, thing, given)
    return Value(thing, node)


def _mflux(walk: ScriptState, dotted: str, given: Arguments, node: ast.Call) -> Value:
    """Follow mflux: `Flux1.from_name("schnell")`, `Flux1(model_config=ModelConfig.dev())`, `Config(...)`."""
    parts = dotted.split(".")
    if parts[-1] in ("Config", "RuntimeConfig", "ConfigControlnet"):
        return Value(dict(given.named), node)
    if "ModelConfig" in parts:
        first = next((value for value in given.values if isinstance(value.what, str)), None)
        return first or Value(parts[-1], node)
    classes = [part for part in parts if part[:1].isupper()]
    if not classes:
        return Value(UNREAD, node)
    words: Mapping[str, Value] = {str(at): value for at, value in enumerate(given.values)} | given.named
    name = next((value for value in words.values() if isinstance(value.what, str)), None)
    model = NamedModel(name.what, walk.place(name), identify(name.what)) if name is not None else None
    thing = walk.new_pipe(Pipe(classes[0], model, tool="mflux"))
    paths = given.get("lora_paths")
    for path in paths.what if paths is not None and isinstance(paths.what, list | tuple) else ():
        add_adapter(walk, thing, path, Arguments(), node)
    return Value(thing, node)
