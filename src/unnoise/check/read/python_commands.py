"""The command lines that a Python script runs: literal texts and lists in os.system and subprocess.

Source: Python's documentation, os.system, and subprocess, "Frequently Used Arguments".
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from unnoise.check.read.commands import command_facts, with_commands
from unnoise.check.subject import Location, Script, Subject
from unnoise.check.syntax import Places, dotted, keyword, nodes

CALLS = frozenset(
    {"os.system", "os.popen"}
    | {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen", "getoutput")}
)
COMMANDS = 50  # of one script
CHANGES = ("append", "extend", "insert", "remove", "pop", "clear")  # methods of a list that change it
QUOTES = ('"""', "'''", '"', "'")
PLAIN = re.compile(r"[\w./:=@,+-]+")  # an argument that a shell reads as it is
MANY, ONE = "$@", "$_"  # arguments, or one, that are not known
Command = ast.Constant | ast.List


def with_python_commands(subject: Subject) -> Subject:
    """Add what the command lines of a script run.

    Args:
        subject: with the script

    Returns:
        the subject, with places in the script
    """
    script = subject.script
    if script is None:
        return subject
    for node in _commands(script):
        text = _shell_text(node, script)
        found = command_facts(text, script.path) if text else None
        if found is not None and (found.trainings or found.runs):
            tool = found.trainings[0].tool if found.trainings else found.runs[0].tool
            subject = replace(with_commands(subject, found), tool=subject.tool or tool)
    return subject


def _commands(script: Script) -> Iterator[Command]:
    """List the literals that are run: a text by a shell, or a list of arguments."""
    left = COMMANDS
    for call in nodes(script.tree):
        name = dotted(call.func) if isinstance(call, ast.Call) else ""
        if isinstance(call, ast.Call) and name in CALLS and left:
            left -= 1
            node = _literal(call.args[0] if call.args else keyword(call, "args"), script.tree)
            if node is not None:
                yield node


def _literal(node: ast.expr | None, tree: ast.Module) -> Command | None:
    """Return a literal, or the one that a name is bound to and that nothing changes; None for any other expression."""
    if isinstance(node, ast.Name):
        node = _bound(node.id, tree)
    if isinstance(node, ast.List) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return node
    return None


def _bound(name: str, tree: ast.Module) -> ast.expr | None:
    values: list[ast.expr] = []
    stored = 0
    for node in nodes(tree):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            stored += 1
        elif isinstance(node, ast.Attribute) and node.attr in CHANGES and dotted(node.value) == name:
            return None
        elif isinstance(node, ast.Assign) and [dotted(target) for target in node.targets] == [name]:
            values.append(node.value)
    return values[0] if stored == len(values) == 1 else None


def _shell_text(node: Command, script: Script) -> str:
    """Return a command at its lines and columns, and nothing else; "" where that cannot be written."""
    places = Places(script.path, script.lines)
    kept = [""] * len(script.lines)
    for one in node.elts if isinstance(node, ast.List) else [node]:
        place, lines = places.at(one), _written(one, places, node is not one)
        if place.line is None or place.column is None or not lines:
            return ""
        for at, line in enumerate(lines, place.line - 1):
            before = kept[at].ljust(place.column if at == place.line - 1 else 0)
            kept[at] = f"{before}{' ' * (before[-1:] not in ('', ' '))}{line}"
    if isinstance(node, ast.List):  # its lines are one command
        kept = [f"{line} \\" if line else "\\" for line in kept[: node.end_lineno]]
        kept[: node.lineno - 1] = [""] * (node.lineno - 1)
    return "\n".join(kept) + "\n"


def _written(node: ast.expr, places: Places, is_argument: bool) -> list[str]:
    """Return an argument or a command as a shell would read it, by line; [] where it has escapes or several parts.

    No word begins where a literal does, so that a fix, which writes in the notation of a shell, is only shown.
    """
    if isinstance(node, ast.Starred):
        return [MANY]
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return [ONE]
    text = "\n".join(_source(places.at(node), places.lines))
    quote = next((one for one in QUOTES if text.startswith(one)), "")
    inner = text[len(quote) : -len(quote)] if quote else ""
    if not quote or inner.replace("\\\n", "") != node.value:
        return []
    if not is_argument or PLAIN.fullmatch(inner):
        return (" " * len(quote) + inner).split("\n")
    return [ONE] if "\n" in inner or "'" in inner else [f"'{inner}'".rjust(len(inner) + len(quote) + 1)]


def _source(place: Location, lines_of_script: Sequence[str]) -> list[str]:
    """Return the lines of an expression."""
    if place.line is None or place.end_line is None:
        return []
    lines = list(lines_of_script[place.line - 1 : place.end_line])
    lines[-1] = lines[-1][: place.end_column]
    lines[0] = lines[0][place.column :]
    return lines
