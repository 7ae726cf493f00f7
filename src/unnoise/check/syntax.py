"""Helpers for syntax trees of scripts: names, keywords, constants, and places counted in characters."""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from unnoise.check.subject import Location, Script

LONGEST = 4_000  # characters of a line in which columns are counted, which takes time in proportion
DEEPEST = 20  # parts of a dotted name
EXITS = ("sys.exit", "os._exit", "exit", "quit")


class Places:
    """Convert nodes of one script to places. `ast` counts columns in bytes of UTF-8, a Location in characters.

    Args:
        path: of the script
        lines: of the script, without line ends
    """

    def __init__(self, path: str, lines: Sequence[str]) -> None:
        self.path = path
        self.lines = lines

    def at(self, node: ast.AST) -> Location:
        """Return the place of a node."""
        line, end = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
        if line is None or end is None:
            return Location(self.path)
        column, end_column = self.column(line, node.col_offset), self.column(end, node.end_col_offset)  # type: ignore[attr-defined]
        return Location(self.path, (), line, column, end, end_column)

    def column(self, line: int, offset: int) -> int | None:
        """Count the characters before a byte of a line.

        Args:
            line: from 1
            offset: in bytes of UTF-8, from 0

        Returns:
            None for a line of more than 4,000 characters that is not ASCII
        """
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if text.isascii():
            return offset
        if len(text) > LONGEST:
            return None
        return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))


def lines_of(text: str) -> tuple[str, ...]:
    """Split a script into lines as Python does."""
    return tuple(re.split(r"\r\n|\r|\n", text))


def place_of(script: Script, node: ast.AST) -> Location:
    """Return the place of a node."""
    return Places(script.path, script.lines).at(node)


def name_of(node: ast.AST) -> str:
    """Return the last name of `a.b.c`; "" for any other expression."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def last_name(node: ast.AST) -> str:
    """Return the last name of `a.b.c`, of `a.b.c(...)` and of further calls of that; "" for any other expression."""
    while isinstance(node, ast.Call):
        node = node.func
    return name_of(node)


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` as a text; "" for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < DEEPEST:
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def names_in(node: ast.AST) -> Mapping[str, ast.AST]:
    """Return every name and attribute in an expression by its last name."""
    return {name_of(one): one for one in ast.walk(node) if isinstance(one, ast.Name | ast.Attribute)}


@lru_cache(maxsize=4)
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """List the nodes of a whole script in the order of `ast.walk`, once for all rules."""
    return tuple(ast.walk(tree))


def calls(script: Script) -> tuple[tuple[ast.Call, str], ...]:
    """List the calls of a script, each with the last name of the called function."""
    return _calls(script.tree)


@lru_cache(maxsize=4)
def _calls(tree: ast.Module) -> tuple[tuple[ast.Call, str], ...]:
    return tuple((node, name_of(node.func)) for node in nodes(tree) if isinstance(node, ast.Call))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword of a call; None where the call has no such keyword."""
    return next((given.value for given in call.keywords if given.arg == name), None)


def constant(node: ast.AST | None, script: Script) -> Any:
    """Return the value of a literal, or of a name that is assigned one literal once; None for any other expression."""
    if isinstance(node, ast.Constant):
        return node.value
    return script.constants.get(node.id) if isinstance(node, ast.Name) else None


def is_exit(node: ast.stmt) -> bool:
    """Return whether a statement is a call that ends the program."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and dotted(node.value.func) in EXITS
