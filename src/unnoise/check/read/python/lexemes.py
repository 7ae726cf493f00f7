"""Split a logical line of a script into strings, comments, brackets and names, also where it is no valid Python.

Python's own tokenizer knows only the syntax of its version, and stops at a magic of IPython.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

DEEPEST = 8  # f-strings in each other
START = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>(?P<prefix>\b[rRbBuUfFtT]{1,2})?(?P<quote>'{3}|"{3}|'|"))
    |(?P<name>[^\W\d]\w*)
    |(?P<newline>\n)
    |(?P<space>(?:[ \t\f]|\\\n)+)
    |(?P<number>\d[\w.]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
# The rest of a string behind its opening quote, the closing quote included.
PLAIN = {
    "'": re.compile(r"(?:[^'\\\n]|\\.)*+'", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\n]|\\.)*+"', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*+'''", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*+"""', re.DOTALL),
}
OPENING, CLOSING = "([{", ")]}"
Kind = Literal["comment", "string", "formatted", "name", "newline", "number", "sign"]


@dataclass(frozen=True, slots=True)
class Lexeme:
    """Hold a part of a script.

    Args:
        kind: "formatted" is a string with fields, which the prefixes f and t start
        start, end: offsets in the text
        depth: number of brackets around it; of a bracket, around the pair
    """

    kind: Kind
    start: int
    end: int
    depth: int


def logical_line(text: str, start: int) -> tuple[list[Lexeme], int]:
    """Split the logical line that begins at an offset.

    Args:
        text: of the script, with "\\n" at the ends of lines
        start: where the line begins

    Returns:
        its parts without spaces, and where the next line begins
    """
    found: list[Lexeme] = []
    for lexeme in _lexemes(text, start):
        found.append(lexeme)
        if lexeme.kind == "newline" and lexeme.depth == 0:
            return found, lexeme.end
    return found, len(text)


def logical_lines(text: str) -> Iterator[list[Lexeme]]:
    """List the logical lines of a script, each as its parts without spaces."""
    at = 0
    while at < len(text):
        line, at = logical_line(text, at)
        yield line


def _lexemes(text: str, at: int) -> Iterator[Lexeme]:
    depth = 0
    while at < len(text):
        match = START.match(text, at)
        assert match is not None  # the last branch takes any character
        kind, end = match.lastgroup, match.end()
        if match["quote"]:
            formatted = _is_formatted(match["prefix"])
            closed = _string_end(text, end, match["quote"], formatted, 0)
            yield Lexeme("sign" if closed is None else "formatted" if formatted else "string", at, closed or end, depth)
            at = closed or end
            continue
        if match["sign"] and match["sign"] in CLOSING:
            depth = max(0, depth - 1)
        if kind != "space":
            yield Lexeme(kind, at, end, depth)  # type: ignore[arg-type]
        if match["sign"] and match["sign"] in OPENING:
            depth += 1
        at = end


def _is_formatted(prefix: str | None) -> bool:
    return prefix is not None and bool(set(prefix) & set("fFtT"))


def _string_end(text: str, at: int, quote: str, formatted: bool, depth: int) -> int | None:
    """Find the end of a string from behind its opening quote; None where it is never closed.

    Source: PEP 701, "Specification", on the nesting of quotes.
    """
    if not formatted:
        match = PLAIN[quote].match(text, at)
        return match.end() if match else None
    while at < len(text) and depth < DEEPEST:
        if text.startswith(quote, at):
            return at + len(quote)
        letter = text[at]
        if letter == "\n" and len(quote) == 1:
            return None
        if text.startswith("\\N{", at):
            at = text.find("}", at) + 1 or len(text)
        elif text.startswith(("{{", "}}"), at) or (letter == "\\" and text[at + 1 : at + 2] not in ("{", "}")):
            at += 2
        else:
            at = _behind(text, at, quote, depth)
    return None


def _behind(text: str, at: int, quote: str, depth: int) -> int:
    """Return the offset behind a letter of an f-string, or behind the field that it opens; the end without one."""
    if text[at] != "{":
        return at + 1
    closed = _field_end(text, at + 1, quote, depth + 1)
    return len(text) if closed is None else closed


def _field_end(text: str, at: int, quote: str, depth: int) -> int | None:
    """Find the end of a field `{...}` of an f-string from behind its brace; None where it is never closed."""
    brackets = 0
    while at < len(text) and depth < DEEPEST:
        match = START.match(text, at)
        assert match is not None
        sign, end = match["sign"], match.end()
        if match["quote"]:
            closed = _string_end(text, end, match["quote"], _is_formatted(match["prefix"]), depth + 1)
            if closed is None:
                return None
            at = closed
            continue
        if sign == "}" and not brackets:
            return end
        if sign == ":" and not brackets:
            return _format_end(text, end, quote, depth)
        brackets += (sign is not None and sign in OPENING) - (sign is not None and sign in CLOSING)
        if brackets < 0:
            return None
        at = end
    return None


def _format_end(text: str, at: int, quote: str, depth: int) -> int | None:
    """Find the end of a field from behind the colon of its format."""
    while at < len(text):
        letter = text[at]
        if letter == "}":
            return at + 1
        if text.startswith(quote, at) or (letter == "\n" and len(quote) == 1):
            return None
        at = _behind(text, at, quote, depth)
    return None
