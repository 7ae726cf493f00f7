"""The states that functions of a script return, for rules that follow values with a `ScriptWalk`."""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from unnoise.check.syntax import nodes

S = TypeVar("S")


def return_owners(tree: ast.Module) -> Mapping[ast.AST, str]:
    """Return the function of every `return`; "" where the script defines several functions of that name."""
    functions = [node for node in nodes(tree) if isinstance(node, ast.FunctionDef)]
    count = Counter(function.name for function in functions)
    found: dict[ast.AST, str] = {}
    for function in functions:  # outer functions come first, so that an inner one keeps its own
        for node in ast.walk(function):
            if isinstance(node, ast.Return):
                found[node] = function.name if count[function.name] == 1 else ""
    return found


def agreed(ends: Mapping[str, Sequence[S | None]]) -> dict[str, S]:
    """Return the functions whose every `return` has the same known state, with that state."""
    return {name: first for name, states in ends.items() if (first := states[0]) is not None and len(set(states)) == 1}
