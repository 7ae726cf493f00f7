"""The numbers that a script states: names assigned once, defaults of parameters, fields, and command line options."""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from unnoise.check.coerce import finite
from unnoise.check.subject import Script
from unnoise.check.syntax import name_of

DEEPEST = 20
LARGEST = 1e12
OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}  # fmt: skip
CASTS: Mapping[str, Callable[[float], float]] = {"int": int, "float": float, "round": round}
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@lru_cache(maxsize=1)
def script_numbers(script: Script) -> "ScriptNumbers":
    """Collect the numbers of a script."""
    return ScriptNumbers(script.tree)


class ScriptNumbers:
    """Resolve expressions of one script to numbers.

    A name is looked up in its function, then at the top of the script. An attribute, such as `args.steps` or
    `self.height`, has the value of every field, option and attribute of its last name, where all agree.

    Args:
        tree: of the script
    """

    def __init__(self, tree: ast.Module) -> None:
        self._function: dict[ast.AST, ast.AST | None] = {}
        self._names: dict[tuple[ast.AST | None, str], list[ast.expr | None]] = {}
        self._fields: dict[str, list[ast.expr | None]] = {}
        self._read: dict[ast.AST, float | None] = {}
        self._collect(tree)

    def bound(self, node: ast.expr) -> ast.expr:
        """Return the expression that a name is assigned, where there is one; else the expression itself."""
        for _ in range(DEEPEST):
            values = self._values(node)
            if len(values) != 1 or values[0] is None:
                break
            node = values[0]
        return node

    def number(self, node: ast.expr | None, depth: int = 0) -> float | None:
        """Return the value of an expression; None where it is not a number that the script states."""
        if node is None or depth > DEEPEST:
            return None
        if node not in self._read:
            self._read[node] = None  # of a name that is defined by itself
            self._read[node] = self._evaluated(node, depth)
        return self._read[node]

    def _evaluated(self, node: ast.expr, depth: int) -> float | None:
        if isinstance(node, ast.Constant):
            found = finite(node.value)
            return found if found is not None and abs(found) < LARGEST else None
        if isinstance(node, ast.BinOp):
            return self._binary(node, depth)
        if isinstance(node, ast.Call) and name_of(node.func) in CASTS and len(node.args) == 1:
            found = self.number(node.args[0], depth + 1)
            return None if found is None else CASTS[name_of(node.func)](found)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found = self.number(node.operand, depth + 1)
            return None if found is None else -found
        found_values = {self.number(value, depth + 1) for value in self._values(node)}
        return next(iter(found_values)) if len(found_values) == 1 else None

    def _binary(self, node: ast.BinOp, depth: int) -> float | None:
        left, right = self.number(node.left, depth + 1), self.number(node.right, depth + 1)
        how = OPERATORS.get(type(node.op))
        if left is None or right is None or how is None or (right == 0 and "div" in how.__name__):
            return None
        found = how(left, right)
        return found if abs(found) < LARGEST else None

    def _values(self, node: ast.expr) -> list[ast.expr | None]:
        """List what a name or an attribute is assigned; None is a value that is not one expression."""
        if isinstance(node, ast.Attribute):
            return self._fields.get(node.attr, [])
        if not isinstance(node, ast.Name):
            return []
        at: ast.AST | None = self._function.get(node)
        while at is not None:
            if (at, node.id) in self._names:
                found = self._names[at, node.id]
                return found if len(found) == 1 else [None]
            at = self._function.get(at)
        found = self._names.get((None, node.id), [])
        return found if len(found) == 1 else [None]

    def _collect(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, ast.AST | None, bool]] = [(tree, None, False)]
        while waiting:
            node, function, in_class = waiting.pop()
            self._function[node] = function
            for owner, name, value in _bindings(node):
                if owner == "field" or in_class:
                    self._fields.setdefault(name, []).append(value)
                else:
                    at = node if owner == "parameter" else function
                    self._names.setdefault((at, name), []).append(value)
            inner = node if isinstance(node, Function) else function
            in_body = isinstance(node, ast.ClassDef) or (in_class and not isinstance(node, Function))
            waiting += [(child, inner, in_body) for child in ast.iter_child_nodes(node)]


def _bindings(node: ast.AST) -> Iterator[tuple[str, str, ast.expr | None]]:
    """List what one node binds: "name", "field" or "parameter", the name, and its value."""
    if isinstance(node, Function):
        spec = node.args
        places = [*spec.posonlyargs, *spec.args]
        values: list[ast.expr | None] = [
            *[None] * (len(places) - len(spec.defaults)),
            *spec.defaults,
            *spec.kw_defaults,
        ]
        for parameter, value in zip([*places, *spec.kwonlyargs], values, strict=True):
            yield "parameter", parameter.arg, value
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if node.value is not None else []
        for target in targets:
            yield from _targets(target, node.value)
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor | ast.comprehension | ast.NamedExpr):
        yield from _targets(node.target, None)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _targets(node.optional_vars, None)
    elif isinstance(node, ast.Call) and name_of(node.func) == "add_argument":
        for word in node.args:
            if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value.startswith("--"):
                default = next((given.value for given in node.keywords if given.arg == "default"), None)
                yield "field", word.value[2:].replace("-", "_"), default


def _targets(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, str, ast.expr | None]]:
    """List the names and attributes of a target; `a, b = 1, 2` binds each to its own value."""
    if isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts) else None
        for at, one in enumerate(target.elts):
            yield from _targets(one, values[at] if values is not None else None)
    elif isinstance(target, ast.Name):
        yield "name", target.id, value
    elif isinstance(target, ast.Attribute):
        yield "field", target.attr, value
    elif isinstance(target, ast.Starred):
        yield from _targets(target.value, None)
