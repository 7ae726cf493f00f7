"""Tell runs that only try whether the code works from those whose image is wanted."""

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache

from unnoise.check.read.python.state import ScriptState
from unnoise.check.subject import GenerationRun
from unnoise.check.syntax import nodes

MOST_TESTED, TINY = 5, 128  # steps and pixels of a run of a test
WORDS = frozenset({"test", "tests", "smoke"})  # in the name of a function, beside others
UNUSED = "_"
MEASURES = ("len", "type")
PROPERTIES = ("shape", "size", "dtype")


def is_test(walk: ScriptState, run: GenerationRun) -> bool:
    """Return whether a run is a test, by a few steps of a tiny image, or in a test function."""
    if run.steps is None or run.steps.value > MOST_TESTED:
        return False
    sides = [side.value for side in (run.width, run.height) if side is not None]
    in_test = any(getattr(node, "name", "").startswith("test_") for node in walk.stack)
    return in_test or (len(sides) == 2 and max(sides) <= TINY)


def is_trial(walk: ScriptState, node: ast.Call) -> bool:
    """Return whether a call is in a function that is named a test, or its images are only measured, or not kept."""
    words = [getattr(function, "name", "").lower().split("_") for function in walk.stack]
    in_test = any(len(parts) > 1 and not WORDS.isdisjoint(parts) for parts in words)
    return in_test or node in _measured(walk.tree) or node in _dropped(walk.tree)


@lru_cache(maxsize=1)
def _dropped(tree: ast.Module) -> frozenset[ast.AST]:
    """List the calls whose result is bound to `_`, or is nobody's in a function, as those that warm up or compile."""
    found: set[ast.AST | None] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == UNUSED:
            found.add(_called(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {one.value for one in ast.walk(node) if isinstance(one, ast.Expr)}
    return frozenset(one for one in found if isinstance(one, ast.Call))


@lru_cache(maxsize=1)
def _measured(tree: ast.Module) -> frozenset[ast.AST]:
    """List the calls whose result is bound to a name and read there, but only to be measured."""
    parents = {child: node for node in nodes(tree) for child in ast.iter_child_nodes(node)}
    uses: dict[str, list[tuple[int, int, ast.Name]]] = {}
    for node in parents:
        if isinstance(node, ast.Name):
            is_read = isinstance(node.ctx, ast.Load)
            end = getattr(parents[node], "end_lineno", node.lineno)  # a name is bound where its statement ends
            at = (node.lineno, node.col_offset) if is_read else (end, 1 << 20)
            uses.setdefault(node.id, []).append((*at, node))
    found: set[ast.AST] = set()
    for listed in uses.values():
        found |= _measured_as([node for *_, node in sorted(listed, key=lambda use: use[:2])], parents)
    return frozenset(found)


def _measured_as(names: Sequence[ast.Name], parents: Mapping[ast.AST, ast.AST]) -> set[ast.AST]:
    """Return the calls whose result one name has, in the order of its uses."""
    found: set[ast.AST] = set()
    call: ast.AST | None = None
    for node in names:
        if not isinstance(node.ctx, ast.Load):
            call = _called(parents[node])
        elif call is not None and _is_measure(node, parents):
            found.add(call)
        elif call is not None:
            found.discard(call)
            call = None
    return found


def _called(node: ast.AST) -> ast.AST | None:
    """Return the call whose result, or a part of it, a statement assigns to one name."""
    value = node.value if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    while isinstance(value, ast.Attribute | ast.Subscript):
        value = value.value
    return value if isinstance(value, ast.Call) else None


def _is_measure(node: ast.AST, parents: Mapping[ast.AST, ast.AST]) -> bool:
    above = parents[node]
    while isinstance(above, ast.Subscript) and above.value is node:
        node, above = above, parents[above]
    if isinstance(above, ast.Attribute):
        return above.attr in PROPERTIES
    return isinstance(above, ast.Call) and isinstance(above.func, ast.Name) and above.func.id in MEASURES
