"""Follow definitions and calls of functions and classes of the script itself."""

import ast
from dataclasses import replace

from unnoise.check.read.python.state import Arguments
from unnoise.check.read.python.store import MISSING
from unnoise.check.read.python.values import UNREAD, Class, Function, Thing, Value
from unnoise.check.read.python.walk import Interpreter

DEEPEST = 12  # nested functions


def enter(walk: Interpreter, function: Function, given: Arguments, node: ast.AST) -> Value:
    """Follow a call of a function of the script, and return its result."""
    body = function.node
    if body in walk.stack or len(walk.stack) >= DEEPEST:
        return Value(UNREAD, node)
    scope = walk.scope(function.scope)
    walk.done.add(body)
    _parameters(walk, function, given, scope)
    walk.stack.append(body)
    walk.returned.append([])
    try:
        walk.block(body.body, scope)
    finally:
        walk.stack.pop()
        results = walk.returned.pop()
    if not results:
        return Value(None, node)
    joined = results[0]
    for result in results[1:]:
        joined = walk.either(joined, result)
    return joined


def _parameters(walk: Interpreter, function: Function, given: Arguments, scope: int) -> None:
    spec = function.node.args
    values = list(given.values)
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.node.decorator_list)
    if function.owner is not None and not static:
        values.insert(0, Value(function.owner, function.node))
    named = dict(given.named)
    places = [*spec.posonlyargs, *spec.args]
    if function.node in walk.alone:  # a page gives the first arguments
        filled = places[len(values) : len(values) + walk.filled.get(function.node, 0)]
        values.extend(Value(UNREAD, place) for place in filled)
    defaults: list[ast.expr | None] = [None] * (len(places) - len(spec.defaults)) + list(spec.defaults)
    for parameter, default in [
        *zip(places, defaults, strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]:
        if values and parameter in places:
            value = values.pop(0)
        elif parameter.arg in named:
            value = named.pop(parameter.arg)
        elif default is not None and not given.open:
            value = replace(walk.value(default, function.scope), weak=function.node in walk.alone)
        else:
            value = Value(UNREAD, parameter)
        walk.store.put((scope, parameter.arg), value)
    if spec.vararg:
        walk.store.put((scope, spec.vararg.arg), Value(UNREAD if given.open else tuple(values), spec.vararg))
    if spec.kwarg:
        walk.store.put((scope, spec.kwarg.arg), Value(UNREAD if given.open else named, spec.kwarg))


def fill(walk: Interpreter, given: Arguments) -> None:
    """Count the arguments that a page of Gradio gives to a function, so that their defaults have no effect.

    Source: Gradio, `Interface(fn, inputs, outputs)` and `Button.click(fn, inputs, outputs)`
    """
    function, inputs = given.get("fn", 0), given.get("inputs", 1)
    if "gradio" not in walk.found.imports or function is None or inputs is None or inputs.what is None:
        return
    if isinstance(function.what, Function):
        listed = inputs.what if isinstance(inputs.what, list | tuple) else None
        is_one = isinstance(inputs.node, ast.Call | ast.Constant)
        count = len(listed) if listed is not None else 1 if is_one else len(function.what.node.args.args)
        walk.filled[function.what.node] = max(count, walk.filled.get(function.what.node, 0))


def make(walk: Interpreter, class_: Class, given: Arguments, node: ast.AST) -> Value:
    """Follow the creation of an object of a class of the script."""
    thing = Thing("object", walk.number())
    walk.objects[class_.node] = thing
    walk.store.put(("class", thing.number), class_)
    start = walk.store.get((class_.scope, "__init__"))
    if start is not MISSING and isinstance(start.what, Function):
        enter(walk, Function(start.what.node, start.what.scope, thing), given, node)
    else:
        for name, value in given.named.items():
            walk.store.put(("object", thing.number, name), value)
    return Value(thing, node)


def finish(walk: Interpreter) -> None:
    """Follow the functions and methods that the script does not call, with their defaults."""
    while left := [node for node in [*walk.classes, *walk.functions] if node not in walk.done]:
        for node in left:
            walk.done.add(node)
            walk.alone.add(node)
            _alone(walk, node)


def _alone(walk: Interpreter, node: ast.AST) -> None:
    if isinstance(node, ast.ClassDef):
        if node not in walk.objects:
            make(walk, walk.classes[node], Arguments(), node)
        for method in node.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method not in walk.done:
                definition = walk.functions.get(method)
                walk.alone.add(method)
                if definition is not None:
                    enter(walk, Function(method, definition.scope, walk.objects[node]), Arguments(), method)
    elif node in walk.functions:
        enter(walk, walk.functions[node], Arguments(), node)
