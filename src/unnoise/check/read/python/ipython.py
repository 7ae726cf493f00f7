"""Rewrite a cell of IPython to Python of the same lines and columns: magics, shell commands and help are left out.

Source: IPython, core/inputtransformer2.py, and "Python vs IPython" in its documentation.
"""

import re
from collections.abc import Sequence

from unnoise.check.read.python.lexemes import Lexeme, logical_line

# Cell magics that run their body as Python in the notebook itself. Source: IPython, core/magics/execution.py;
# memory_profiler, line_profiler, pyinstrument, snakeviz and wandb, which document theirs.
PYTHON_BODY = frozenset(
    {"capture", "debug", "lprun", "memit", "mprun", "prun", "pyinstrument", "snakeviz", "time", "timeit", "wandb"}
)
CELL_MAGIC = re.compile(r"\s*%%(?P<name>[\w.]+)")
ESCAPED = re.compile(r"[ \t]*(?:[%!?])")
# `files = !ls`, `a, b = %magic`
ASSIGNED = re.compile(
    r"[ \t]*[^\W\d][\w.]*(?:\[[^\]\n]*\])?(?:[ \t]*,[ \t]*[^\W\d][\w.]*)*[ \t]*=[ \t]*(?P<magic>!|%(?=[^\W\d]))"
)
HELP = re.compile(r"[ \t]*%{0,2}[^\W\d][\w.*]*(?:\[[\w-]+\])*\?{1,2}[ \t]*(?:#.*)?$")
# Magics and commands that people write without their sign. IPython runs `cd x` as `%cd x` unless `cd` is a variable.
BARE = re.compile(
    r"[ \t]*(?:cat|cd|conda|cp|ls|mamba|mkdir|mv|pip3?|rm|rmdir|uv)[ \t]+"
    r"(?!(?:and|else|for|if|in|is|not|or)\b|[=!<>|&^%*+@,:()\[\]{}]|[-/][ \t=])\S"
)
NOTHING, UNKNOWN = "pass", "..."


def is_python(source: str) -> bool:
    """Return whether a cell runs as Python: it has no cell magic, or one whose body is Python."""
    magic = CELL_MAGIC.match(source)
    if magic is None:
        return True
    body = source[source.find("\n", magic.end()) + 1 :] if "\n" in source[magic.end() :] else ""
    return magic["name"] in PYTHON_BODY and is_python(body)


def as_python(source: str) -> str:
    """Rewrite a cell, or a script that was exported from one.

    Args:
        source: with "\\n" at the ends of lines

    Returns:
        Python with the same number of lines; what stays is in its line and column
    """
    done: list[str] = []
    at = 0
    while at < len(source):
        first = source[at : _line_end(source, at)]
        kept = _kept(first)
        if kept is not None:
            end = _continued_end(source, at)
            done.append(kept + "\n" * source.count("\n", at, end))
        else:
            line, end = logical_line(source, at)
            done.append(_without_help(source, at, end, line))
        at = end
    return "".join(done)


def _line_end(source: str, at: int) -> int:
    end = source.find("\n", at)
    return len(source) if end < 0 else end


def _kept(line: str) -> str | None:
    """Return what stays of a line that is a magic or a shell command; None for a line of Python."""
    if ESCAPED.match(line) or BARE.match(line) or HELP.match(line):
        return line[: len(line) - len(line.lstrip())] + NOTHING
    assigned = ASSIGNED.match(line)
    return None if assigned is None else line[: assigned.start("magic")] + UNKNOWN


def _continued_end(source: str, at: int) -> int:
    """Find the end of a line that backslashes continue."""
    end = _line_end(source, at)
    while end < len(source) and source[end - 1] == "\\":
        end = _line_end(source, end + 1)
    return min(end + 1, len(source))


def _without_help(source: str, start: int, end: int, line: Sequence[Lexeme]) -> str:
    """Return a logical line, without itself where it ends in "?", which shows help for its last name."""
    parts = [one for one in line if one.kind not in ("comment", "newline")]
    if not parts or source[parts[-1].start : parts[-1].end] != "?":
        return source[start:end]
    text = source[start:end]
    return text[: len(text) - len(text.lstrip(" \t"))] + NOTHING + "\n" * text.count("\n")
