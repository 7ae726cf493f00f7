"""Split a shell text into commands, and these into words: of bash, of Windows' cmd and of PowerShell."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from unnoise.check.subject import Location

LETTERS = 1000  # characters of one value
WORDS = 5000  # of one command
TOKEN = re.compile(
    r"(?P<gap>[ \t\f\v]+|[\\^`]\r?\n)|(?P<note>#[^\n]*)|(?P<end>\r?\n|;|&&?|\|\|?)|(?P<array>\w{1,80}\+?=\()"
    r"|(?P<word>(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\[^\r\n]|[^\s;&|\"'\\]|[\\\"'](?!\r?\n))+)|(?P<rest>.)",
    re.DOTALL,
)
# Of cmd and PowerShell, where a backslash is a letter, and a text in quotes ends with its line.
WINDOWS = re.compile(
    r"(?P<gap>[ \t\f\v]+|[\^`]\r?\n)|(?P<note>#[^\n]*)|(?P<end>\r?\n|;|&&?|\|\|?)"
    r"|(?P<word>(?:\"[^\"\r\n]*\"|'[^'\r\n]*'|[^\s;&|\"'^`]|[\"'^`](?!\r?\n))+)|(?P<rest>.)",
    re.DOTALL,
)
# A backslash before a letter belongs to a Windows path; it has no meaning in a shell.
PIECE = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'|\\([^\w.])|([^\"'\\]+|.)", re.DOTALL)
UNPLACED = -1  # offset of what is not in the text
CLOSE = ")"  # the word behind the last one of an array


@dataclass(frozen=True, slots=True)
class Word:
    """Hold a word of a command.

    Args:
        text: without quotes
        raw: as written
        start, end: its offsets in the text; `end` is UNPLACED where only its line is known
    """

    text: str
    raw: str
    start: int
    end: int

    def behind(self, letters: int) -> "Word":
        """Return the word without its first letters."""
        return Word(unquoted(self.raw[letters:]), self.raw[letters:], self.start + letters, self.end)


@dataclass(frozen=True, slots=True)
class Command:
    """Hold a command.

    Args:
        words: an array is a word `name=(`, its words, and CLOSE
        joint: what joins it to the command before it: "&&", "||" or "|"; "" for anything else
    """

    words: tuple[Word, ...]
    joint: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Convert offsets in a text to places.

    Args:
        path: of the file
        starts: where each line begins
    """

    path: str
    starts: tuple[int, ...]

    def place(self, start: int, end: int) -> Location:
        """Return the place of a part of the text; without columns where it has no end."""
        first = bisect_right(self.starts, start)
        if end == UNPLACED:
            return Location(self.path, (), first)
        last = bisect_right(self.starts, end)
        return Location(self.path, (), first, start - self.starts[first - 1], last, end - self.starts[last - 1])


def source_of(text: str, path: str) -> Source:
    """Index the lines of a text."""
    return Source(path, (0, *(match.end() for match in re.finditer("\n", text))))


def commands(text: str, windows: bool = False) -> Iterator[Command]:
    """Split a text into its commands.

    Args:
        text: of a shell
        windows: it is that of cmd or PowerShell

    Returns:
        the commands, without comments
    """
    words: list[Word] = []
    joint, in_array = "", False
    for token in (WINDOWS if windows else TOKEN).finditer(text):
        kind, raw = token.lastgroup, token.group()
        if kind == "end" and not (in_array and raw.endswith("\n")):
            if words:
                yield Command(tuple(words), joint)
            if words or raw.strip():  # a line may end behind a joint
                joint = raw if raw in ("&&", "||", "|") else ""
            words, in_array = [], False
        elif kind == "array" and len(words) < WORDS:
            words.append(Word(raw, raw, token.start(), token.end()))
            in_array = True
        elif kind == "word" and len(words) < WORDS:
            closes = in_array and raw.endswith(")") and raw.count(")") > raw.count("(")
            if raw := raw[:-1] if closes else raw:
                words.append(Word(unquoted(raw), raw, token.start(), token.start() + len(raw)))
            if closes:
                words.append(Word(CLOSE, CLOSE, token.end() - 1, token.end()))
                in_array = False
    if words:
        yield Command(tuple(words), joint)


def words_of(text: str, start: int) -> Iterator[Word]:
    """List the words in a part of a text that begins at an offset, such as a value in quotes."""
    for token in TOKEN.finditer(text):
        if token.lastgroup in ("word", "array"):
            raw = token.group()
            yield Word(unquoted(raw), raw, start + token.start(), start + token.end())


def pieces(word: Word) -> tuple[Word, ...]:
    """Split a word at the spaces that were in quotes; a piece has columns where it is written as it is read."""
    if not re.search(r"\s", word.text):
        return (word,)
    at = word.raw.find(word.text)
    found = words_of(word.text, word.start + at)
    return tuple(one if at >= 0 else Word(one.text, one.raw, word.start, UNPLACED) for one in found)


def unquoted(raw: str) -> str:
    """Return a word without its quotes."""
    if raw.isalnum() or not any(mark in raw for mark in "\"'\\"):
        return raw
    parts = []
    for double, single, escaped, bare in PIECE.findall(raw):
        parts.append(re.sub(r"\\([\"\\$`])", r"\1", double) or single or escaped or bare)
    return "".join(parts)
