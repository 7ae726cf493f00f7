"""Evaluate expressions of a script: constants are computed, calls of diffusers followed, all else is UNREAD."""

import ast
from collections.abc import Sequence
from dataclasses import replace

from unnoise.check.read.python import fold
from unnoise.check.read.python.attributes import attribute, owner
from unnoise.check.read.python.calls import call
from unnoise.check.read.python.sweeps import marked
from unnoise.check.read.python.values import UNREAD, Name, Several, Value, used
from unnoise.check.read.python.walk import UNROLLED, Interpreter


def evaluate(walk: Interpreter, node: ast.expr, scope: int) -> Value:
    """Return the value of an expression, and follow its effects."""
    match node:
        case ast.Constant():
            known = node.value is None or isinstance(node.value, bool | int | float | str)
            return Value(node.value if known else UNREAD, node)
        case ast.Name():
            return _name(walk, node, scope)
        case ast.Attribute():
            return attribute(walk, owner(walk, node.value, scope), node)
        case ast.Call():
            return call(walk, node, scope)
        case ast.List() | ast.Tuple() | ast.Set():
            return _sequence(walk, node, scope)
        case ast.Dict():
            return _table(walk, node, scope)
        case ast.BinOp():
            left, right = walk.value(node.left, scope), walk.value(node.right, scope)
            return replace(fold.binary(node, node.op, left, right), swept=left.swept or right.swept)
        case ast.UnaryOp():
            return fold.unary(node, node.op, walk.value(node.operand, scope))
        case ast.Subscript():
            return fold.element(node, walk.value(node.value, scope), walk.value(node.slice, scope))
        case _:
            return _more(walk, node, scope)


def _more(walk: Interpreter, node: ast.expr, scope: int) -> Value:
    match node:
        case ast.Compare():
            values = [walk.value(part, scope) for part in (node.left, *node.comparators)]
            return fold.compare(node, node.ops, values)
        case ast.BoolOp():
            return _bool(node, [walk.value(part, scope) for part in node.values])
        case ast.IfExp():
            known = fold.truth(walk.value(node.test, scope))
            one, other = walk.value(node.body, scope), walk.value(node.orelse, scope)
            return walk.either(one, other) if known is None else one if known else other
        case ast.JoinedStr():
            return fold.joined_text(node, [_piece(walk, piece, scope) for piece in node.values])
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return _comprehension(walk, node, scope)
        case ast.NamedExpr():
            value = walk.value(node.value, scope)
            walk.assign(node.target, value, scope)
            return value
        case ast.Await() | ast.Starred():
            return walk.value(node.value, scope)
        case ast.Lambda():
            inner = walk.scope(scope)
            for parameter in (*node.args.args, *node.args.kwonlyargs):
                walk.store.put((inner, parameter.arg), Value(UNREAD, parameter))
            walk.value(node.body, inner)
        case _:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    walk.value(child, scope)
    return Value(UNREAD, node)


def _name(walk: Interpreter, node: ast.Name, scope: int) -> Value:
    if node.id == "__name__":
        return Value("__main__", node)
    return walk.lookup(node.id, scope) or Value(Name(node.id), node)


def _sequence(walk: Interpreter, node: ast.List | ast.Tuple | ast.Set, scope: int) -> Value:
    items: list[Value] = []
    known = not isinstance(node, ast.Set)
    for element in node.elts:
        value = walk.value(element, scope)
        if not isinstance(element, ast.Starred):
            items.append(value)
        elif isinstance(value.what, list | tuple):
            items.extend(value.what)
        else:
            known = False
    return Value((items if isinstance(node, ast.List) else tuple(items)) if known else UNREAD, node)


def _table(walk: Interpreter, node: ast.Dict, scope: int) -> Value:
    table: dict[object, Value] = {}
    known = True
    for key, value in zip(node.keys, node.values, strict=True):
        entry = used(walk.value(value, scope), value)
        if key is None:
            known = known and isinstance(entry.what, dict)
            table.update(entry.what if isinstance(entry.what, dict) else {})
            continue
        name = walk.value(key, scope).what
        if isinstance(name, str | int | float | None):
            table[name] = entry
        elif isinstance(name, Name):
            table[name.dotted] = entry
        else:
            known = False
    return Value(table if known else UNREAD, node)


def _bool(node: ast.BoolOp, values: Sequence[Value]) -> Value:
    for value in values[:-1]:
        known = fold.truth(value)
        if known is None:
            return Value(UNREAD, node)
        if known is isinstance(node.op, ast.Or):
            return value
    return values[-1]


def _piece(walk: Interpreter, piece: ast.expr, scope: int) -> Value:
    if not isinstance(piece, ast.FormattedValue):
        return walk.value(piece, scope)
    value = walk.value(piece.value, scope)
    return value if piece.format_spec is None and piece.conversion == -1 else Value(UNREAD, piece)


def _comprehension(walk: Interpreter, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: int) -> Value:
    inner = walk.scope(scope)
    first = node.generators[0]
    over = walk.value(first.iter, scope)
    items = over.what if isinstance(over.what, list | tuple) else ()
    if len(node.generators) == 1 and not first.ifs and 0 < len(items) <= UNROLLED:
        found = []
        for item in marked(items):
            walk.assign(first.target, item, inner)
            found.append(walk.value(node.elt, inner))
        return Value(found, node)
    for generator in node.generators:
        walk.assign(generator.target, Value(UNREAD, generator.iter), inner)
    return Value(Several(walk.value(node.elt, inner)), node)
