"""Follow calls: of imported names, of the script's own functions, and methods of known values."""

import ast
from dataclasses import replace
from typing import Any

from unnoise.check.read.python import fold
from unnoise.check.read.python.attributes import attribute, owner
from unnoise.check.read.python.build import build
from unnoise.check.read.python.foreign import mark, mark_changed
from unnoise.check.read.python.functions import enter, fill, make
from unnoise.check.read.python.pipes import loaded, on_part, on_pipe, set_part
from unnoise.check.read.python.runs import run
from unnoise.check.read.python.state import Arguments
from unnoise.check.read.python.store import MISSING
from unnoise.check.read.python.values import (
    MOST,
    UNREAD,
    Class,
    ComponentValue,
    Function,
    Name,
    Noise,
    Picture,
    ScheduleValue,
    Thing,
    Value,
    size_of,
    used,
)
from unnoise.check.read.python.walk import UNROLLED, Interpreter

VIEWS = ("items", "keys", "values")
CHANGES = ("append", "extend", "insert", "pop", "remove", "update", "setdefault", "clear", "sort", "reverse", "popitem")


def _arguments(walk: Interpreter, node: ast.Call, scope: int) -> Arguments:
    values: list[Value] = []
    named: dict[str, Value] = {}
    unknown = False
    for argument in node.args:
        value = walk.value(argument, scope)
        if not isinstance(argument, ast.Starred):
            values.append(used(value, argument))
        elif isinstance(value.what, list | tuple):
            values.extend(value.what)
        else:
            unknown = True
    for keyword in node.keywords:
        value = walk.value(keyword.value, scope)
        if keyword.arg is not None:
            named[keyword.arg] = used(value, keyword.value)
        elif isinstance(value.what, ComponentValue) and value.what.role == "components":
            named["components"] = Value(value.what.of, keyword.value)
        elif isinstance(value.what, dict):
            named.update({key: entry for key, entry in value.what.items() if isinstance(key, str)})
        else:
            unknown = True
    return Arguments(tuple(values), named, unknown)


def call(walk: Interpreter, node: ast.Call, scope: int) -> Value:
    if isinstance(node.func, ast.Attribute):
        owned = owner(walk, node.func.value, scope)
        given = _arguments(walk, node, scope)
        if owned.what is not UNREAD and (found := _method(walk, owned, node.func, given, node, scope)) is not None:
            return found
        callee = owner(walk, node.func, scope) if _is_object(owned) else attribute(walk, owned, node.func)
    else:
        callee = owner(walk, node.func, scope)
        given = _arguments(walk, node, scope)
    return _called(walk, callee, given, node)


def _is_object(owned: Value) -> bool:
    return isinstance(owned.what, Thing) and owned.what.kind == "object"


def _called(walk: Interpreter, callee: Value, given: Arguments, node: ast.Call) -> Value:
    what = callee.what
    fill(walk, given)
    first = given.get("image", 0)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "blur" and first is not None:
        factor = given.get("blur_factor", 1)
        amount = factor.what if factor is not None and isinstance(factor.what, int | float) else 4.0
        return Value(replace(first.what, blur=float(amount)) if isinstance(first.what, Picture) else UNREAD, node)
    if isinstance(what, Name):
        simple = (
            fold.builtin(what.last, node, given.values, given.named)
            if what.dotted in (what.last, "pathlib.Path")
            else None
        )
        return simple or build(walk, what.dotted, given, node)
    if isinstance(what, Function):
        return enter(walk, what, given, node)
    if isinstance(what, Class):
        result = _based(walk, what, "", given, node) if what.based else Value(UNREAD, node)
        return result if result.read else make(walk, what, given, node)
    if isinstance(what, Thing) and what.kind == "pipe":
        return run(walk, what, given, node)
    if isinstance(what, Thing) and what.kind == "object":
        class_ = walk.store.get(("class", what.number))
        found = walk.store.get((class_.scope, "__call__")) if class_ is not MISSING else MISSING
        if found is not MISSING and isinstance(found.what, Function):
            return enter(walk, Function(found.what.node, found.what.scope, what), given, node)
    mark_changed(walk, node.func.attr if isinstance(node.func, ast.Attribute) else "", given)
    return Value(UNREAD, node)


def _based(walk: Interpreter, class_: Class, method: str, given: Arguments, node: ast.Call) -> Value:
    """Return what a class of the script makes by way of its imported base; its own `__call__` samples otherwise."""
    made = build(walk, f"{class_.based}{method}", given, node)
    own = walk.store.get((class_.scope, "__call__")) is not MISSING
    if own and isinstance(made.what, Thing) and made.what.kind == "pipe":
        mark(walk, made.what)
    return made


def _method(
    walk: Interpreter, owned: Value, func: ast.Attribute, given: Arguments, node: ast.Call, scope: int
) -> Value | None:
    """Follow a method of a known value; None where it is an ordinary attribute."""
    what, name = owned.what, func.attr
    if isinstance(what, Thing) and what.kind == "pipe":
        called = name == "__call__" or (name == "generate_image" and walk.pipe(what).tool == "mflux")
        return run(walk, what, given, node) if called else on_pipe(walk, what, name, given, node)
    if isinstance(what, Thing) and what.kind == "parser":
        return _parser(walk, what, name, given, node)
    if isinstance(what, ComponentValue):
        if name != "load_state_dict":
            return on_part(walk, owned, name, given, node)
        changed = Value(loaded(what, given), owned.node)
        if what.of is not None:
            set_part(walk, what.of, what.role, changed)
        else:
            walk.assign(func.value, changed, scope)
        return Value(UNREAD, node)
    if isinstance(what, Class) and what.based and walk.store.get((what.scope, name)) is MISSING:
        return _based(walk, what, f".{name}", given, node)
    if isinstance(what, Noise) and name == "manual_seed":
        seeded = Value(Noise(given.get("seed", 0), what.device), node)
        if isinstance(func.value, ast.Name | ast.Attribute):
            walk.assign(func.value, seeded, scope)
        return seeded
    if isinstance(what, ScheduleValue) and name == "from_config":
        class_ = what.config.class_ if what.config is not None else ""
        return build(walk, f"{class_ or 'UnknownScheduler'}.from_config", given, node)
    if isinstance(what, Picture):
        return _picture(what, name, given, node)
    if isinstance(what, dict | list) and name in CHANGES:
        return _changed(walk, owned, func, given, node, scope)
    if isinstance(what, dict) and name == "get":
        key = given.get("key", 0)
        found = fold.element(node, owned, key) if key is not None else Value(UNREAD, node)
        return found if found.read else Value(UNREAD, node)
    if isinstance(what, dict) and name in VIEWS and not given.values:
        return Value(_view(what, name, node), node)
    if isinstance(what, str) and name in ("strip", "lower", "upper", "rstrip", "lstrip") and not given.values:
        return Value(getattr(what, name)(), node, weak=owned.weak)
    return None


def _view(table: dict[Any, Value], name: str, node: ast.Call) -> list[Value]:
    """List the keys, the values, or the pairs of both of a table."""
    if name == "values":
        return list(table.values())
    keys = [Value(key, node) for key in table]
    return keys if name == "keys" else [Value(pair, node) for pair in zip(keys, table.values(), strict=True)]


def _picture(picture: Picture, name: str, given: Arguments, node: ast.Call) -> Value:
    if name == "resize":
        return Value(replace(picture, size=size_of(given.get("size", 0))), node)
    if name == "filter":
        return Value(replace(picture, blur=1.0), node)
    return Value(picture if name in ("convert", "copy") else UNREAD, node)


def _changed(
    walk: Interpreter, value: Value, func: ast.Attribute, given: Arguments, node: ast.Call, scope: int
) -> Value:
    if isinstance(func.value, ast.Name | ast.Attribute):
        first = given.get("", 0)
        whole = isinstance(value.what, dict) and (first is None or isinstance(first.what, dict)) and not given.open
        if func.attr == "update" and whole:
            more = {**value.what, **(first.what if first is not None else {}), **given.named}
            walk.assign(func.value, Value(more if len(more) < MOST else UNREAD, value.node), scope)
        elif func.attr == "append" and isinstance(old := value.what, list) and first and len(old) < UNROLLED:
            walk.assign(func.value, Value([*old, first], value.node), scope)
        else:
            walk.assign(func.value, Value(UNREAD, value.node), scope)
    return Value(UNREAD, node)


def _parser(walk: Interpreter, parser: Thing, name: str, given: Arguments, node: ast.Call) -> Value:
    """Follow argparse; every option has its default."""
    if name == "add_argument":
        names = [value.what for value in given.values if isinstance(value.what, str)]
        longest = max(names, key=len, default="").lstrip("-").replace("-", "_")
        action = given.get("action")
        flag = Value(False, node) if action is not None and action.what == "store_true" else Value(UNREAD, node)
        default = replace(given.get("default") or flag, weak=True)
        walk.store.put(("options", parser.number, longest), default)
    if name == "parse_args":
        return Value(Thing("options", parser.number), node)
    if name == "parse_known_args":
        return Value((Value(Thing("options", parser.number), node), Value(UNREAD, node)), node)
    return Value(parser if name in ("add_argument_group", "add_mutually_exclusive_group") else UNREAD, node)
