"""How a script writes the scale and the shift of latents: numbers, settings of the autoencoder, or names of these."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from unnoise.check.syntax import dotted, name_of, nodes

SCALES = (0.18215, 0.13025, 1.5305, 0.3611)
SHIFTS = (0.0609, 0.1159)


@dataclass(frozen=True, slots=True)
class Scale:
    """Describe a factor: its power of the scale, 1 or -1, and the expression and value of a number."""

    power: int
    node: ast.expr | None = None
    value: float = 0.0


def named_scales(tree: ast.Module) -> dict[str, Scale]:
    """Return the names and attributes that a script assigns once, to a scale."""
    count: Counter[str] = Counter()
    found: dict[str, Scale] = {}
    for name, value in _bindings(tree):
        count[name] += 1
        scale = written(value) if value is not None else None
        if name and scale is not None and scale.power == 1:
            found[name] = scale
    return {name: scale for name, scale in found.items() if count[name] == 1}


def _bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """List every name or attribute that is assigned, with its value where that is one expression."""
    whole = set()
    for node in nodes(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name | ast.Attribute):
                    whole.add(target)
                    yield dotted(target), node.value
        elif isinstance(node, ast.arguments):
            yield from ((one.arg, None) for one in (*node.posonlyargs, *node.args, *node.kwonlyargs))
    for node in nodes(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store) and node not in whole:
            yield dotted(node), None


def written(node: ast.expr) -> Scale:
    """Return the power of the scale that an expression without names of scales is."""
    if isinstance(node, ast.Constant):
        value = node.value
        return Scale(1, node, value) if isinstance(value, float) and value in SCALES else Scale(0)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        scale = written(node.right)
        is_one = isinstance(node.left, ast.Constant) and node.left.value == 1
        return Scale(-scale.power, scale.node, scale.value) if is_one else Scale(0)
    if isinstance(node, ast.Call) and name_of(node.func) == "getattr" and len(node.args) > 1:
        return Scale(1 if is_text(node.args[1], "scaling_factor") else 0)
    if isinstance(node, ast.Subscript):
        return Scale(1 if is_text(node.slice, "scaling_factor") else 0)
    return Scale(1 if name_of(node).endswith("scaling_factor") else 0)


def is_shift(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and name_of(node.func) == "getattr" and len(node.args) > 1:
        return is_text(node.args[1], "shift_factor")
    if isinstance(node, ast.Subscript):
        return is_text(node.slice, "shift_factor")
    return "shift" in name_of(node) or (isinstance(node, ast.Constant) and node.value in SHIFTS)


def is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
