"""What rules ask of a script's syntax tree: the name that is called, and the keywords that are given."""

import ast
from collections.abc import Iterator
from typing import Any

from unnoise.check.read.python.places import Places
from unnoise.check.subject import Place, Script


def name_of(node: ast.AST) -> str:
    """Give the last name of `a.b.c`; "" of what is no name."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def calls(script: Script) -> Iterator[tuple[ast.Call, str]]:
    """List the calls of a script, each with the last name of what is called."""
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call):
            yield node, name_of(node.func)


def keyword(call: ast.Call, name: str) -> ast.keyword | None:
    """Give a keyword of a call."""
    return next((given for given in call.keywords if given.arg == name), None)


def constant(node: ast.AST | None, script: Script) -> Any:
    """Give what a literal, or a name that is assigned one once, is; None of anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    return script.constants.get(node.id) if isinstance(node, ast.Name) else None


def place_of(script: Script, node: ast.AST) -> Place:
    """Give the place of a node."""
    return Places(script.path, "\n".join(script.lines)).at(node)
