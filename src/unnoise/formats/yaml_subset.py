"""Read the part of YAML that configs of networks are written in: indented tables, lists, numbers, words and texts.

Anchors, tags, documents, block texts and tables in braces (other than an empty one) are refused: no code and no
reference can be in such a file.
Source: YAML 1.2.2, chapters 7 (flow style) and 8 (block style).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unnoise.errors import InputError

LARGEST: Final = 1 << 18  # bytes of a file
DEEPEST: Final = 32  # of tables in tables
WORDS: Final = {"null": None, "~": None, "": None, "true": True, "false": False}
WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")
NUMBER: Final = re.compile(r"[-+]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
KEY: Final = re.compile(r"""("[^"]*"|'[^']*'|[\w.][\w .-]{0,199}):(?=\s|$)""")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line without its comment: its number, its indentation and its text."""

    number: int
    indent: int
    text: str


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file of one table. Raises InputError for anything else, and for a file that is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path}: larger than {LARGEST} bytes, the most that a config may have")
    try:
        return parse_yaml(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse a text of one table. Raises InputError, starting with `where`, for anything else."""
    lines = [line for number, raw in enumerate(text.splitlines(), 1) if (line := _line(raw, number, where))]
    if lines and lines[0].text == "---":
        lines = lines[1:]
    parser = _Parser(lines, where)
    found = parser.block(0, 0) if lines else {}
    if parser.at < len(lines) or not isinstance(found, dict):
        raise parser.fault("not a table of settings")
    return found


class _Parser:
    """Walk the lines once."""

    def __init__(self, lines: list[_Line], where: str) -> None:
        self.lines, self.where, self.at = lines, where, 0

    def fault(self, what: str) -> InputError:
        """Return the error of the current line."""
        line = self.lines[min(self.at, len(self.lines) - 1)] if self.lines else _Line(1, 0, "")
        return InputError(f"{self.where}:{line.number}: {what}: {line.text[:80]!r}")

    def block(self, indent: int, depth: int) -> Any:
        """Read the table or list that begins at the current line."""
        if depth > DEEPEST:
            raise self.fault(f"more than {DEEPEST} tables in each other")
        first = self.lines[self.at]
        if first.indent < indent:
            return None
        return self._list(first.indent, depth) if _is_item(first.text) else self._table(first.indent, depth)

    def _table(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._continues(indent):
            line = self.lines[self.at]
            match = KEY.match(line.text)
            if match is None:
                raise self.fault("not a setting `name: value`")
            key, rest = match[1].strip("\"'"), line.text[match.end() :].strip()
            if key in found:
                raise self.fault(f"{key[:80]!r} is given twice")
            value = self._value(rest) if rest else None
            self.at += 1
            found[key] = value if rest else self._below(indent, depth)
        return found

    def _list(self, indent: int, depth: int) -> list[Any]:
        found: list[Any] = []
        while self._continues(indent) and _is_item(self.lines[self.at].text):
            line = self.lines[self.at]
            rest = line.text[1:].strip()
            if not rest:
                self.at += 1
                found.append(self._below(indent, depth))
            elif KEY.match(rest) or _is_item(rest):
                self.lines[self.at] = _Line(line.number, indent + len(line.text) - len(rest), rest)
                found.append(self.block(indent + 1, depth + 1))
            else:
                found.append(self._value(rest))
                self.at += 1
        return found

    def _continues(self, indent: int) -> bool:
        if self.at >= len(self.lines) or self.lines[self.at].indent < indent:
            return False
        if self.lines[self.at].indent > indent:
            raise self.fault("indented further than the line before it")
        return True

    def _below(self, indent: int, depth: int) -> Any:
        """Read what stands under a name: a list may stand at the indentation of its name."""
        if self.at >= len(self.lines):
            return None
        line = self.lines[self.at]
        deeper = line.indent > indent or (line.indent == indent and _is_item(line.text))
        return self.block(indent, depth + 1) if deeper else None

    def _value(self, text: str) -> Any:
        if text == "{}":
            return {}
        if text.startswith("[") and text.endswith("]"):
            inside = text[1:-1].strip()
            if any(letter in inside for letter in "[]{}"):
                raise self.fault("lists in a list of one line are not supported")
            return [self._value(part.strip()) for part in inside.split(",")] if inside else []
        if text[0] in "\"'":
            if len(text) < 2 or text[-1] != text[0] or text[0] in text[1:-1]:
                raise self.fault("a text in quotes must end with the same quote, and have none inside")
            return text[1:-1]
        if text[0] in "&*!|>%@`{[":
            raise self.fault(f"{text[0]!r} is not supported")
        return _plain(text)


def _plain(text: str) -> Any:
    """Read a value without quotes."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _line(raw: str, number: int, where: str) -> _Line | None:
    """Return a line without comment; None for an empty one."""
    text = raw.rstrip()
    body = text.lstrip(" ")
    if body.startswith("\t"):
        raise InputError(f"{where}:{number}: indented by a tab: YAML indents by spaces")
    quote = ""
    for place, letter in enumerate(body):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (place == 0 or body[place - 1] in " :[,-"):
            quote = letter
        elif letter == "#" and (place == 0 or body[place - 1].isspace()):
            body = body[:place].rstrip()
            break
    return _Line(number, len(text) - len(text.lstrip(" ")), body) if body else None
