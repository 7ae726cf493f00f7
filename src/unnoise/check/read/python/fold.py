"""Compute constant expressions of a script within bounds; all others give UNREAD."""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unnoise.check.read.python.values import LARGEST, LONGEST, MOST, UNREAD, Value, plain, same

ELEMENTS = 64  # of a list that is multiplied, or of a range

ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def binary(node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
    """Compute `left op right`."""
    return Value(_binary(type(op), left.what, right.what), node)


def _binary(op: type[ast.operator], left: Any, right: Any) -> Any:
    if _is_number(left) and _is_number(right):
        return _number(op, left, right)
    if isinstance(left, str) and isinstance(right, str):
        return _text(op, left, right)
    if op is ast.Add and isinstance(left, list | tuple) and type(left) is type(right):
        return type(left)([*left, *right]) if len(left) + len(right) <= MOST else UNREAD
    if op is ast.BitOr and isinstance(left, dict) and isinstance(right, dict):
        return {**left, **right} if len(left) + len(right) <= MOST else UNREAD
    if op is ast.Mult and isinstance(right, int) and isinstance(left, str | list | tuple):
        limit = LONGEST if isinstance(left, str) else ELEMENTS
        return left * right if right >= 0 and len(left) * right <= limit else UNREAD
    return UNREAD


def _number(op: type[ast.operator], left: Any, right: Any) -> Any:
    if op is ast.Pow and not (abs(left) <= 1000 and 0 <= right <= 12):
        return UNREAD
    compute = operator.pow if op is ast.Pow else ARITHMETIC.get(op)
    if compute is None or not (abs(left) < LARGEST and abs(right) < LARGEST):
        return UNREAD
    try:
        found = compute(left, right)
    except ArithmeticError:
        return UNREAD
    return found if _is_number(found) else UNREAD


def _text(op: type[ast.operator], left: str, right: str) -> Any:
    if len(left) + len(right) > LONGEST:
        return UNREAD
    if op is ast.Add:
        return left + right
    return f"{left.rstrip('/')}/{right}" if op is ast.Div else UNREAD  # a path


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def unary(node: ast.AST, op: ast.unaryop, value: Value) -> Value:
    """Compute `op value`."""
    if isinstance(op, ast.Not):
        known = truth(value)
        return Value(UNREAD if known is None else not known, node)
    if isinstance(op, ast.USub) and _is_number(value.what):
        return Value(-value.what, node)
    return value if isinstance(op, ast.UAdd) else Value(UNREAD, node)


def truth(value: Value) -> bool | None:
    """Return whether a value counts as true; None where it is not known."""
    what = value.what
    if value.weak:
        return None
    if what is None or isinstance(what, bool | int | float | str | list | tuple | dict):
        return bool(what)
    return None


def compare(node: ast.AST, ops: Sequence[ast.cmpop], values: Sequence[Value]) -> Value:
    """Compute a comparison with one operator."""
    if len(ops) != 1 or any(value.weak for value in values):
        return Value(UNREAD, node)
    op, (left, right) = ops[0], values
    if isinstance(op, ast.Is | ast.IsNot):
        return Value(_is(isinstance(op, ast.Is), left.what, right.what), node)
    if isinstance(op, ast.In | ast.NotIn):
        return Value(_within(isinstance(op, ast.In), left, right), node)
    one, other = plain(left), plain(right)
    simple = (bool, int, float, str)
    if type(op) not in COMPARISONS or not (isinstance(one, simple) and isinstance(other, simple)):
        return Value(UNREAD, node)
    if isinstance(one, str) is not isinstance(other, str) and not isinstance(op, ast.Eq | ast.NotEq):
        return Value(UNREAD, node)
    return Value(COMPARISONS[type(op)](one, other), node)


def _is(positive: bool, left: Any, right: Any) -> Any:
    if left is UNREAD or right is UNREAD or (left is not None and right is not None):
        return UNREAD
    return (left is right) is positive


def _within(positive: bool, left: Value, right: Value) -> Any:
    if not left.read or not isinstance(right.what, list | tuple | dict | str):
        return UNREAD
    if isinstance(right.what, str):
        return (left.what in right.what) is positive if isinstance(left.what, str) else UNREAD
    items = [plain(item) if isinstance(item, Value) else item for item in right.what]
    if any(item is UNREAD for item in items):
        return UNREAD
    return any(same(plain(left), item) for item in items) is positive


def joined_text(node: ast.AST, pieces: Sequence[Value]) -> Value:
    """Join the parts of an f-string."""
    parts = [plain(piece) for piece in pieces]
    if not all(isinstance(part, str | int | float) for part in parts):
        return Value(UNREAD, node)
    text = "".join(str(part) for part in parts)
    return Value(text if len(text) <= LONGEST else UNREAD, node)


def element(node: ast.AST, value: Value, index: Value) -> Value:
    """Return `value[index]`."""
    what, at = value.what, index.what
    if isinstance(what, dict) and isinstance(at, str | int | float) and at in what:
        return _as_value(what[at], node)
    if isinstance(what, list | tuple) and type(at) is int and -len(what) <= at < len(what):
        return _as_value(what[at], node)
    return Value(UNREAD, node)


def _as_value(item: Any, node: ast.AST) -> Value:
    return item if isinstance(item, Value) else Value(UNREAD, node)


def builtin(name: str, node: ast.AST, values: Sequence[Value], named: Mapping[str, Value]) -> Value | None:
    """Compute a call of a function of Python itself; None where `name` is unknown."""
    first = values[0] if values else None
    if name == "dict":
        start = dict(first.what) if first is not None and isinstance(first.what, dict) else {}
        return Value({**start, **named} if first is None or isinstance(first.what, dict) else UNREAD, node)
    if name not in ("int", "float", "str", "len", "list", "tuple", "range", "min", "max", "round", "abs", "Path"):
        return None
    if first is None or named:
        return Value(UNREAD, node)
    return replace(_of_one(name, node, first, values), weak=any(value.weak for value in values))


def _of_one(name: str, node: ast.AST, first: Value, values: Sequence[Value]) -> Value:
    what = first.what
    numbers = [value.what for value in values if _is_number(value.what)]
    if name in ("str", "Path"):
        return (
            Value(str(what), node) if isinstance(what, str | int | float) and abs_small(what) else Value(UNREAD, node)
        )
    if name in ("list", "tuple"):
        return (
            Value(list(what) if name == "list" else tuple(what), node)
            if isinstance(what, list | tuple)
            else Value(UNREAD, node)
        )
    if name == "len":
        return Value(len(what) if isinstance(what, str | list | tuple | dict) else UNREAD, node)
    if len(numbers) != len(values):
        return Value(_parsed(name, what) if len(values) == 1 else UNREAD, node)
    if name == "range":
        whole = (
            all(type(number) is int for number in numbers) and len(numbers) <= 3 and (len(numbers) < 3 or numbers[2])
        )
        span = range(*numbers) if whole else range(0)
        return Value([Value(at, node) for at in span] if whole and len(span) <= ELEMENTS else UNREAD, node)
    return Value(_of_numbers(name, numbers), node)


def abs_small(what: Any) -> bool:
    """Return whether a value is a text, or a number of sane size."""
    return isinstance(what, str) or (math.isfinite(what) and abs(what) < LARGEST)


def _parsed(name: str, what: Any) -> Any:
    if name not in ("int", "float") or not isinstance(what, str) or len(what) > 40:
        return UNREAD
    try:
        return int(what) if name == "int" else float(what)
    except ValueError:
        return UNREAD


def _of_numbers(name: str, numbers: Sequence[Any]) -> Any:
    if not all(math.isfinite(number) and abs(number) < LARGEST for number in numbers):
        return UNREAD
    compute: Mapping[str, Callable[[], Any]] = {
        "int": lambda: int(numbers[0]),
        "float": lambda: float(numbers[0]),
        "abs": lambda: abs(numbers[0]),
        "min": lambda: min(numbers),
        "max": lambda: max(numbers),
        "round": lambda: round(*numbers),
    }
    if len(numbers) > 2 and name not in ("min", "max"):
        return UNREAD
    try:
        return compute[name]()
    except (TypeError, ValueError, OverflowError):
        return UNREAD
