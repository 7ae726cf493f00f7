"""Rewrite syntax newer than the running Python to older syntax of the same length, so that a script can be parsed.

Every part keeps its line and column. What is rewritten has no value that a rule reads: the fields of an f-string, the
parameters of a type. A string with a format from a newer Python becomes one with an unknown field.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence

from unnoise.check.read.python.lexemes import Lexeme, logical_lines

UNKNOWN = "_"  # stands for the value of a field
ALIAS = re.compile(r"type(?P<space>[ \t]+)(?=[^\W\d]\w*\s*[=\[])")
LAZY = re.compile(r"lazy(?P<space>[ \t])[ \t]*(?:import|from)\b")
Edit = tuple[int, int, str]  # replace from, to, by a text of the same length


def older_syntax(text: str) -> str:
    """Rewrite what the running Python does not know.

    Args:
        text: of a script, with "\\n" at the ends of lines

    Returns:
        a text of the same length and lines; the text itself where nothing is newer

    Source: PEP 701 (3.12), PEP 695 (3.12), PEP 696 (3.13), PEP 750 and PEP 758 (3.14), PEP 810 (3.15)
    """
    edits = [edit for line in logical_lines(text) for edit in _edits(text, [one for one in line if _counts(one)])]
    pieces, at = [], 0
    for start, end, new in edits:
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])


def is_newer(text: str) -> bool:
    """Return whether a text that cannot be parsed has syntax newer than the running Python that cannot be rewritten."""
    return sys.version_info < (3, 12) and any(
        lexeme.kind == "formatted" and "\n" in text[lexeme.start : lexeme.end] and not _parses(text, lexeme)
        for line in logical_lines(text)
        for lexeme in line
    )


def _counts(lexeme: Lexeme) -> bool:
    return lexeme.kind not in ("comment", "newline")


def _edits(text: str, line: Sequence[Lexeme]) -> Iterator[Edit]:
    if not line:
        return
    first = text[line[0].start : line[0].end]
    version = sys.version_info
    if first in ("def", "class", "async", "type") and version < (3, 13):
        yield from _type_parameters(text, line)
    if first == "lazy" and version < (3, 15) and (match := LAZY.match(text, line[0].start)):
        yield match.start("space"), match.end("space"), ";"
    if first == "except" and version < (3, 14):
        yield from _exceptions(text, line)
    for at, lexeme in enumerate(line):
        if lexeme.kind == "formatted" and not _parses(text, lexeme):
            followed = at + 1 < len(line) and line[at + 1].kind in ("string", "formatted")
            new = _unknown_string(text[lexeme.start : lexeme.end], followed)
            if new:
                yield lexeme.start, lexeme.end, new


def _type_parameters(text: str, line: Sequence[Lexeme]) -> Iterator[Edit]:
    """Blank `[T]` of a function, a class or a type, and make an assignment of `type X = ...`."""
    if match := ALIAS.match(text, line[0].start):
        start, end = match.span("space")
        yield start, end, "_" * (end - start)
    names = [at for at, lexeme in enumerate(line[:3]) if lexeme.kind == "name"]
    opening = line[names[-1] + 1] if names and names[-1] + 1 < len(line) else None
    if opening is None or text[opening.start : opening.end] != "[" or opening.depth or len(names) < 2:
        return
    closing = next((one for one in line if one.start > opening.start and _is(text, one, "]") and not one.depth), None)
    if closing is not None:
        yield opening.start, closing.end, _blank(text[opening.start : closing.end])


def _is(text: str, lexeme: Lexeme, sign: str) -> bool:
    return text[lexeme.start : lexeme.end] == sign


def _exceptions(text: str, line: Sequence[Lexeme]) -> Iterator[Edit]:
    """Join the exceptions of `except A, B:` by `|`; a name behind `as` needs brackets in every version."""
    colon = next((at for at, lexeme in enumerate(line) if _is(text, lexeme, ":") and not lexeme.depth), 0)
    for lexeme in line[:colon]:
        if _is(text, lexeme, ",") and not lexeme.depth:
            yield lexeme.start, lexeme.end, "|"


def _parses(text: str, lexeme: Lexeme) -> bool:
    try:
        ast.parse(f"({text[lexeme.start : lexeme.end]})")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _unknown_string(text: str, followed: bool) -> str:
    """Return an f-string of the same length with one unknown field; "" where none fits.

    Args:
        text: the f-string
        followed: another string is joined to it, so that it has to stay a string
    """
    match = re.match(r"[a-zA-Z]{1,2}('{3}|\"{3}|'|\")", text)
    if match is None:
        return ""
    quote = match[1]
    head = match[0].replace("t", "f").replace("T", "F")
    inner = text[match.end() : -len(quote)]
    if "\n" not in inner or len(quote) == 3:
        room = re.search(r"[^\n]{3}", inner)
        if room is None:
            return ""
        blank = _blank(inner)
        return f"{head}{blank[: room.start()]}{{{UNKNOWN}}}{blank[room.end() :]}{quote}"
    start = f"({UNKNOWN})"
    return "" if followed or "\n" in text[: len(start)] else start + _blank(text[len(start) :])
