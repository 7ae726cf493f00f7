"""Read the options of a command: `--name value`, `--name=value`, `--name a b` as a list, and `--name` as True."""

import re
from collections.abc import Sequence
from typing import Any

from unnoise.check.read.shell.variables import is_unknown
from unnoise.check.read.shell.words import LETTERS, Source, Word
from unnoise.check.subject import Located

Settings = dict[str, Located[Any]]
KEYS = 2000  # settings of one training
OPTION = re.compile(r"--?([A-Za-z][\w-]{0,80})(=?)")
# Names of variables that hold any number of options.
MANY = re.compile(r"ARGS|ARGUMENTS|ARGV|OPTS|OPTIONS|FLAGS|PARAMS|EXTRA|[@*]", re.IGNORECASE)


def arguments(words: Sequence[Word], source: Source) -> Settings:
    """Read the options of a command.

    Args:
        words: behind the program
        source: gives their places

    Returns:
        the settings by name, with "_" for "-"; the last of repeated ones counts
    """
    settings: Settings = {}
    at = 0
    while at < len(words) and len(settings) < KEYS:
        word, at = words[at], at + 1
        match = OPTION.match(word.text)
        if match is None:
            continue
        name = match[1].replace("-", "_")
        if match[2]:
            value = number_or_text(word.text[match.end() : match.end() + LETTERS])
            settings[name] = Located(value, source.place(_value_start(word), word.end))
            continue
        end = at
        while end < len(words) and not OPTION.match(words[end].text) and not _is_more(words[end], end == at):
            end += 1
        settings[name] = _values(word, words[at:end], source)
        at = end
    return settings


def are_complete(words: Sequence[Word]) -> bool:
    """Return whether all options of a command are known: none of them are in a variable without a known value."""
    after_option = False
    for word in words:
        if _is_more(word, after_option):
            return False
        match = OPTION.match(word.text)
        after_option = match is not None and not match[2]
    return True


def _is_more(word: Word, after_option: bool) -> bool:
    """Return whether a word is a variable that may hold any number of options; one behind an option is its value."""
    return is_unknown(word) and (not after_option or bool(MANY.search(word.raw)))


def number_or_text(text: str) -> Any:
    """Return a number that a text is, else the text."""
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", text):
        return float(text)
    return text


def _value_start(word: Word) -> int:
    """Return where the value of `--name=value` begins; one from a variable has its own place already."""
    start = re.match(r"--?[\w-]+=", word.raw)
    return word.start + start.end() if start and word.end - word.start == len(word.raw) else word.start


def _values(name: Word, words: Sequence[Word], source: Source) -> Located[Any]:
    if not words:
        return Located(True, source.place(name.start, name.end))
    if len(words) == 1:
        return Located(number_or_text(words[0].text[:LETTERS]), source.place(words[0].start, words[0].end))
    first, last = words[0], words[-1]
    start, end = (first.start, last.end) if first.start < last.end else (first.start, first.end)
    return Located([number_or_text(word.text[:LETTERS]) for word in words[:KEYS]], source.place(start, end))
