"""Variables of a shell text: their assignments, and words with their values in place of their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from unnoise.check.read.shell.words import CLOSE, LETTERS, UNPLACED, WORDS, Word, commands, pieces, words_of

NAMES = 500  # variables of one text
DECLARING = ("export", "set", "declare", "local", "readonly", "typeset")
ASSIGNED = re.compile(r"(?P<name>\$?\w{1,80})(?P<more>\+?)=")
DEFAULT = r"(?::?[-=]([^{}$]{0,200}))?"  # ${name:-default}
NAME = re.compile(r"\$\{(\w{1,80})" + DEFAULT + r"\}|\$(\w{1,80})|%(\w{1,80})%")
# A word that is one variable, perhaps in quotes.
WHOLE = re.compile(r"(\"?)(?:\$\{(\w{1,80})(\[[@*]\])?" + DEFAULT + r"\}|\$(\w{1,80})|%(\w{1,80})%)\1")
COMPUTED = ("`", "$(")  # values that depend on other commands
PLAIN = re.compile(r"\"[^\"$]*\"|'[^']*'|[\w.+-]+")  # of PowerShell: a text or a number


@dataclass(frozen=True, slots=True)
class ShellValue:
    """Hold the value of a variable.

    Args:
        whole: as one word; of an array its first
        parts: the words that it is split into where it is not in quotes; those of an array
        array: whether it is one
    """

    whole: Word
    parts: tuple[Word, ...]
    array: bool = False


Variables = dict[str, ShellValue | None]  # None for a value that is set, but not known


def assign(words: Sequence[Word], variables: Variables, runs: bool | None = True) -> Sequence[Word]:
    """Store `name=value`, `name=(a b)` and PowerShell's `$name = value` at the start of a command.

    Args:
        words: of the command
        variables: changed in place
        runs: False where the command does not run; None where that is not known, so that the values are not

    Returns:
        the other words of the command; before those, an assignment holds for this command alone
    """
    value: ShellValue | None
    declared = bool(words) and words[0].raw in DECLARING
    if not declared and len(words) > 2 and words[0].raw[:1] == "$" and words[1].raw in ("=", "+="):
        known = len(words) == 3 and words[1].raw == "=" and PLAIN.fullmatch(words[2].raw)
        _store(variables, words[0].raw[1:], _scalar(words[2], variables) if known else None, runs)
        return ()
    at, found = 0, Variables()
    if declared:
        at = next((i for i in range(1, len(words)) if words[i].raw[:1] != "-"), len(words))
    while at < len(words) and (match := ASSIGNED.match((word := _opened(words[at], declared)).raw)):
        name = match["name"].lstrip("$")
        if word.raw.endswith("=(") and match.end() == len(word.raw) - 1:
            end = next((i for i in range(at, len(words)) if words[i].raw == CLOSE), len(words))
            value, at = _array(word, words[at + 1 : end], variables), end + 1
        else:
            value, at = _scalar(word.behind(match.end()), variables), at + 1
        found[name] = _joined(variables, found, name, value) if match["more"] else value
    if at < len(words) and not declared:
        return words[at:]
    for name, value in found.items():
        _store(variables, name, value, runs)
    return () if found else words


def _opened(word: Word, declared: bool) -> Word:
    """Return `name=value` of cmd's `set "name=value"`."""
    quoted = declared and len(word.raw) > 1 and word.raw[0] == word.raw[-1] == '"'
    return Word(word.text, word.raw[1:-1], word.start + 1, word.end - 1) if quoted else word


def _store(variables: Variables, name: str, value: ShellValue | None, runs: bool | None) -> None:
    if runs is not False and (name in variables or len(variables) < NAMES):
        variables[name] = value if runs else None


def _joined(variables: Variables, found: Variables, name: str, more: ShellValue | None) -> ShellValue | None:
    """Return the value of a variable after `name+=more`."""
    if name not in variables and name not in found:
        return more
    old = found[name] if name in found else variables[name]
    if old is None or more is None:
        return None
    text = (old.whole.text + more.whole.text)[:LETTERS]
    whole = Word(text, more.whole.raw, more.whole.start, more.whole.end)
    return ShellValue(whole, (*old.parts, *more.parts)[:WORDS], old.array or more.array)


def _array(name: Word, words: Sequence[Word], variables: Variables) -> ShellValue:
    parts = tuple(part for word in words for part in expanded(word, variables))[:WORDS]
    return ShellValue(parts[0] if parts else Word("", "", name.end, name.end), parts, array=True)


def _scalar(word: Word, variables: Variables) -> ShellValue | None:
    if any(mark in word.raw for mark in COMPUTED) and word.raw[:1] != "'":
        return None
    whole = _substituted(Word(word.text[:LETTERS], word.raw, word.start, word.end), variables)
    named = _value(word, variables)
    return ShellValue(whole, named.parts if named and not named.array else _split(word, whole, variables))


def _split(word: Word, whole: Word, variables: Variables) -> tuple[Word, ...]:
    """Split a value in quotes at its spaces, as a shell does where the variable is not in quotes."""
    quote = word.raw[:1]
    inner = word.raw[1:-1]
    if quote not in ("'", '"') or word.raw[-1:] != quote or not re.search(r"\s", inner):
        return (whole,)
    known: Mapping[str, ShellValue | None] = variables if quote == '"' else {}
    return tuple(part for one in words_of(inner, word.start + 1) for part in expanded(one, known))[:WORDS]


def expanded(word: Word, variables: Mapping[str, ShellValue | None]) -> tuple[Word, ...]:
    """Put the values of variables into a word.

    Args:
        word: of a command
        variables: those that are known

    Returns:
        the words that it becomes: several where it is an array, or a variable without quotes. A word that is one
        variable, or is one after `--name=`, has the place of the value
    """
    value = _value(word, variables)
    if value is None:
        return (_substituted(word, variables),)
    if word.raw[:1] == '"' and not (value.array and "[" in word.raw):
        return (_placed(value.whole, word),)
    parts = value.parts if value.array or len(value.parts) != 1 else (value.whole,) if value.whole.text else ()
    if value.array and word.raw[:1] != '"':
        parts = tuple(piece for part in parts for piece in pieces(part))[:WORDS]
    return tuple(_placed(part, word) for part in parts)


def _placed(value: Word, word: Word) -> Word:
    """Return a value at its own place, else at the word that uses it."""
    return Word(value.text, word.raw, word.start, word.end) if value.start == UNPLACED else value


def _value(word: Word, variables: Mapping[str, ShellValue | None]) -> ShellValue | None:
    """Return the value of the variable that a word is; None for any other word, and for an unknown value."""
    if not variables or (word.raw[-1:] not in ('"', "}", "%") and word.raw[:1] != "$"):
        return None
    match = WHOLE.fullmatch(word.raw)
    return variables.get(match[2] or match[5] or match[6]) if match else None


def _substituted(word: Word, variables: Mapping[str, ShellValue | None]) -> Word:
    if word.raw[:1] == "'" or not any(mark in word.raw for mark in "$%"):
        return word
    start = re.match(r"--\w+=", word.raw)
    tail = word.behind(start.end()) if start else word
    value = _value(tail, variables) if start else None
    if start and value is not None:
        whole = _placed(value.whole, tail)
        return Word(start.group() + whole.text, start.group() + whole.raw, whole.start, whole.end)

    def text(match: re.Match[str]) -> str:
        name = match[1] or match[3] or match[4]
        known = variables.get(name)
        if known is None:
            return match[2] if match[2] is not None and name not in variables else match[0]
        return known.whole.text

    return Word(NAME.sub(text, word.text)[:LETTERS], word.raw, word.start, word.end)


def is_unknown(word: Word) -> bool:
    """Return whether a word is one variable without quotes whose value is not known, or all arguments of the text."""
    return word.text[:1] == "$" and (
        word.raw.strip('"') in ("$@", "$*")
        or bool(WHOLE.fullmatch(word.raw) and ("[" in word.raw or word.raw[0] == "$"))
    )


@lru_cache(4)
def assigned_spans(text: str) -> tuple[tuple[int, int, str], ...]:
    """List where the values of variables begin and end in a text, each with the name of its variable."""
    found = []
    for command in commands(text):
        opened: Word | None = None
        for word in command.words:
            match = ASSIGNED.match(word.raw)
            if opened is not None and word.raw == CLOSE:
                found.append((opened.start, word.end, opened.raw.rstrip("+=(")))
                opened = None
            elif match is not None and word.raw.endswith("=("):
                opened = word
            elif match is not None and opened is None:
                found.append((word.start, word.end, match["name"].lstrip("$")))
    return tuple(found)


def agreed(values: Sequence[ShellValue | None]) -> ShellValue | None:
    """Return what is certain of a variable that has one of some values: their first words, if it is a list."""
    first = values[0]
    if first is None or any(value is None for value in values):
        return None
    lists = [[part.text for part in value.parts] for value in values if value is not None]
    if all(texts == lists[0] for texts in lists):
        return first
    same = len(list(takewhile(lambda texts: len(set(texts)) == 1, zip(*lists, strict=False))))
    if not same and not first.array:
        return None
    rest = Word("$@", "$@", first.whole.start, first.whole.end)  # any number of words
    return ShellValue(rest, (*first.parts[:same], rest), first.array)


def constant(name: str, value: object) -> tuple[str, ShellValue]:
    """Return a variable that another language sets; it has the place of the words that use it."""
    text = str(value)[:LETTERS]
    word = Word(text, text, UNPLACED, UNPLACED)
    parts = (Word(one.text, one.raw, UNPLACED, UNPLACED) for one in words_of(text, 0))
    return name, ShellValue(word, tuple(parts))
