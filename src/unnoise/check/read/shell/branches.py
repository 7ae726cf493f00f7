"""Follow if, case, loops and functions of a shell text: which variables have a certain value at a command.

A simple test of known values decides its branch, such as `[ "$model" == "sdxl" ]`. After a block whose branch is not
known, a variable is known only where all branches leave it with one value.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from unnoise.check.read.shell.variables import Variables, agreed, assign, expanded
from unnoise.check.read.shell.words import Command, Word, commands

DEEPEST = 50  # blocks in each other
TESTS = ("[", "[[", "test")
Kind = Literal["if", "case", "loop", "brace"]
ENDS: dict[str, Kind] = {"fi": "if", "esac": "case", "done": "loop"}
GLOB = "*?["
ARGUMENTS = re.compile(r"\$[@*#1]|getopts")
CHANGED = re.compile(r"\$(\w{1,80})\.Add\(")  # PowerShell


@dataclass(slots=True)
class _Block:
    """Hold an open block.

    Args:
        kind: "brace" is that of a function, of PowerShell, or of cmd
        before: the variables before it
        runs: whether its current branch runs; None where that is not known
        ends: the variables at the end of every branch that may run
        settled: whether one of its branches is certain to run
        subject: of `case`
    """

    kind: Kind
    before: Variables
    runs: bool | None
    ends: list[Variables] = field(default_factory=list)
    settled: bool = False
    subject: Word | None = None


class Branches:
    """Follow the commands of one text in their order.

    Args:
        variables: that are known at its start
    """

    def __init__(self, variables: Variables) -> None:
        self.variables: Variables = dict(variables)
        self._open: list[_Block] = []
        self._in_condition = False
        self._last: bool | None = None  # whether the command before succeeded; None where that is not known
        self._piped = False

    def follow(self, command: Command) -> tuple[Word, ...]:
        """Follow a command.

        Args:
            command: the next one of the text

        Returns:
            its words with the values of variables, without keywords and assignments
        """
        if self._in_condition and command.joint and self._open:
            self._open[-1].runs = None
        self._piped = command.joint == "|"
        words = self._without_keywords(command.words)
        runs: bool | None = True
        if command.joint in ("&&", "||") and not self._in_condition:
            runs = self._last if command.joint == "&&" or self._last is None else not self._last
        rest = assign(words, self.variables, runs)
        found = tuple(part for word in rest for part in expanded(word, self.variables))
        self.variables |= dict.fromkeys(name for word in rest for name in CHANGED.findall(word.raw))
        self._last = holds(found, self.variables) if found and found[0].text in TESTS else None
        return found

    def _without_keywords(self, words: Sequence[Word]) -> Sequence[Word]:
        """Open and close the blocks that the words at the ends of a command stand for."""
        while words:
            head, last = words[0].text, words[-1].raw
            if self._open and self._open[-1].kind == "case" and self._pattern(words[0]):
                words = words[1:]
            elif head in ("then", "do") or (head in ("}", ")") and self._closes("brace")):
                self._in_condition, words = False, words[1:]
            elif last.endswith(("{", "(")) and "$" not in last[-2:]:
                self._begin("brace", None)
                return ()
            elif head in ENDS:
                self._closes(ENDS[head])
                words = words[1:]
            elif head in ("if", "elif", "while", "until", "for", "select", "case"):
                return self._keyword(head, words[1:])
            elif head == "else":
                self._next(True)
                words = words[1:]
            else:
                break
        return words

    def _keyword(self, head: str, rest: Sequence[Word]) -> Sequence[Word]:
        """Open a block or its next branch, and return its condition, which may run a command."""
        given = [part for word in rest for part in expanded(word, self.variables)]
        if head == "case":
            self._begin("case", False)
            if self._open:
                self._open[-1].subject = given[0] if given else None
            return self._without_keywords(rest[2:])
        if head in ("for", "select"):
            self._begin("loop", False if _of_arguments(rest) else None)
            if rest:
                assign([Word("", f"{rest[0].text}=", rest[0].start, rest[0].end)], self.variables, None)
            return ()
        self._in_condition = True
        if head == "elif":
            self._next(holds(given, self.variables))
        else:
            loops = False if _of_arguments(rest) else None
            self._begin("if" if head == "if" else "loop", holds(given, self.variables) if head == "if" else loops)
        return rest[1:] if rest and rest[0].text == "!" else rest

    def _pattern(self, word: Word) -> bool:
        """Begin the branch of a pattern of `case`; False where the word is none."""
        if not word.raw.endswith(")") or "(" in word.raw[1:]:
            return False
        subject, pattern = self._open[-1].subject, word.text.rstrip(")").lstrip("(")
        known = subject is not None and "$" not in subject.text
        exact = pattern == subject.text if known and subject else None
        if any(mark in pattern for mark in GLOB) or (exact is False and self._piped):  # one of "a|b)"
            exact = None
        self._next(True if pattern == "*" else exact)
        return True

    def _begin(self, kind: Kind, runs: bool | None) -> None:
        if len(self._open) < DEEPEST:
            self._open.append(_Block(kind, dict(self.variables), runs))
        else:
            self.variables = dict.fromkeys(self.variables)

    def _end_of_branch(self, block: _Block) -> None:
        if block.runs is not False:
            block.ends.append(self.variables)
        block.settled = block.settled or block.runs is True

    def _next(self, runs: bool | None) -> None:
        """End the current branch and begin another."""
        if not self._open or self._open[-1].kind not in ("if", "case"):
            return
        block = self._open[-1]
        self._end_of_branch(block)
        self.variables = dict(block.before)
        block.runs = False if block.settled else runs
        if block.runs and block.ends:  # it runs unless a branch before it does
            block.runs, block.settled = None, True

    def _closes(self, kind: Kind) -> bool:
        """Close the innermost block if it is of a kind, and keep the variables that are certain behind it."""
        if not self._open or self._open[-1].kind != kind:
            return False
        block = self._open.pop()
        self._end_of_branch(block)
        ends = block.ends if block.settled else [*block.ends, block.before]
        names = {name: None for end in ends for name in end}
        self.variables = {name: agreed([end.get(name) for end in ends]) for name in names}
        return True


def _of_arguments(words: Sequence[Word]) -> bool:
    """Return whether a loop goes over the arguments of the text, and does not run without any."""
    return any(ARGUMENTS.search(word.raw) for word in words)


def expanded_commands(text: str, variables: Variables, windows: bool = False) -> Iterator[tuple[Word, ...]]:
    """List the commands of a text.

    Args:
        text: of a shell
        variables: that are known at its start
        windows: it is a text of cmd or PowerShell

    Returns:
        the words of each command, with the values of variables that are certain; also of commands that do not run
    """
    branches = Branches(variables)
    for command in commands(text, windows):
        found = branches.follow(command)
        if found:
            yield found


def holds(words: Sequence[Word], variables: Variables) -> bool | None:
    """Decide a test of known values, such as `[ "$a" == "b" ]`; None for any other command."""
    texts = [word.text for word in words]
    if texts in (["true"], ["false"]):
        return texts == ["true"]
    if len(texts) < 2 or texts[0] not in TESTS:
        return None
    texts = texts[1:-1] if texts[-1] in ("]", "]]") else texts[1:]
    if texts[:1] == ["!"]:
        inner = _decided(texts[1:], variables)
        return None if inner is None else not inner
    return _decided(texts, variables)


def _decided(texts: Sequence[str], variables: Variables) -> bool | None:
    if len(texts) == 2 and texts[0] in ("-n", "-z"):
        name = texts[1].strip("${}")
        if texts[1][:1] == "$":
            return None if name in variables or not name.isidentifier() else texts[0] == "-z"
        return (texts[1] == "") == (texts[0] == "-z")
    if any("$" in text or "`" in text for text in texts) or len(texts) not in (0, 1, 3):
        return None
    if len(texts) < 2:
        return texts not in ([], [""])
    one, sign, other = texts
    if any(mark in other for mark in GLOB):
        return None
    return {"==": one == other, "=": one == other, "-eq": one == other, "!=": one != other, "-ne": one != other}.get(
        sign
    )
