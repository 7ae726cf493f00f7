"""Where a node of a syntax tree is, in letters."""

import ast
import re

from unnoise.check.subject import Place

LONGEST = 4_000  # letters of a line in which columns are counted: each costs as much as the line is long


class Places:
    """Give places in one script; `ast` counts bytes of UTF-8, a Place letters."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = tuple(re.split(r"\r\n|\r|\n", text))

    def at(self, node: ast.AST) -> Place:
        """Give the place of a node."""
        line, end = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
        if line is None or end is None:
            return Place(self.path)
        column, end_column = self.column(line, node.col_offset), self.column(end, node.end_col_offset)  # type: ignore[attr-defined]
        return Place(self.path, (), line, column, end, end_column)

    def column(self, line: int, offset: int) -> int | None:
        """Give the letters before a byte of a line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if text.isascii():
            return offset
        if len(text) > LONGEST:
            return None
        return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore"))
