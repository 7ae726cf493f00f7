"""Return the value of an attribute."""

import ast

from unnoise.check.read.python.functions import enter
from unnoise.check.read.python.pipes import COMPONENTS, part_of
from unnoise.check.read.python.state import Arguments
from unnoise.check.read.python.store import MISSING
from unnoise.check.read.python.values import (
    UNREAD,
    Class,
    ComponentValue,
    Function,
    Name,
    Pipe,
    ScheduleSettings,
    ScheduleValue,
    Thing,
    Value,
)
from unnoise.check.read.python.walk import Interpreter


def owner(walk: Interpreter, node: ast.expr, scope: int) -> Value:
    """Return the owner of an attribute; an unreadable one named "pipe" counts as an unknown pipeline."""
    value = walk.value(node, scope)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    strange = not value.read or (isinstance(value.what, Name) and value.what.dotted == name)
    if not strange or "pipe" not in name.lower() or (not name[:1].islower() and not name.startswith("_")):
        return value
    value = Value(walk.new_pipe(Pipe("")), node)
    if isinstance(node, ast.Name):
        walk.bind(node.id, value, scope if walk.lookup(node.id, scope) else 0)
    else:
        walk.assign(node, value, scope)
    return value


def attribute(walk: Interpreter, of: Value, node: ast.Attribute) -> Value:
    what, name = of.what, node.attr
    if isinstance(what, Name):
        return Value(Name(f"{what.dotted}.{name}"), node)
    if isinstance(what, ScheduleValue):
        return Value(ScheduleSettings(what.config, what.of) if name == "config" else UNREAD, node)
    if isinstance(what, Class):
        found = walk.store.get((what.scope, name))
        return found if found is not MISSING else Value(UNREAD, node)
    if isinstance(what, ComponentValue) and name == "dtype":
        return Value(UNREAD, node)
    return _of_thing(walk, what, node) if isinstance(what, Thing) else Value(UNREAD, node)


def _of_thing(walk: Interpreter, thing: Thing, node: ast.Attribute) -> Value:
    name = node.attr
    if thing.kind == "pipe":
        if name == "components":
            return Value(ComponentValue("", of=thing, role=name), node)
        if name == "scheduler":
            return Value(ScheduleValue(walk.pipe(thing).schedule, thing), node)
        return Value(part_of(walk, thing, name), node) if name in COMPONENTS else Value(UNREAD, node)
    found = walk.store.get((thing.kind, thing.number, name))
    class_ = walk.store.get(("class", thing.number))
    if found is MISSING and class_ is not MISSING:
        found = walk.store.get((class_.scope, name))
    if found is MISSING:
        return Value(UNREAD, node)
    if isinstance(found.what, Function):
        method = Function(found.what.node, found.what.scope, thing)
        read = any(isinstance(mark, ast.Name) and mark.id == "property" for mark in method.node.decorator_list)
        return enter(walk, method, Arguments(), node) if read else Value(method, node)
    return found
