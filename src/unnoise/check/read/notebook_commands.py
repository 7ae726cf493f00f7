"""The shell commands of a notebook: `!` lines, cells of a shell, and the variables that both and Python set for them.

Source: IPython, core/inputtransformer2.py and core/magics/osm.py, env; IPython, utils/text.py, DollarFormatter, on
`$name` and `{name}` in commands.
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from unnoise.check.notebook import Cell
from unnoise.check.read.commands import command_facts, with_commands
from unnoise.check.read.python.ipython import is_python
from unnoise.check.read.shell.variables import Variables, constant
from unnoise.check.subject import Subject
from unnoise.check.syntax import nodes

SHELL_CELL = re.compile(r"\s*%%(?:bash|sh|shell|cmd|script\s+(?:/usr/bin/env\s+|/bin/)?(?:bash|sh))\b")
# A file of a shell that a cell writes.   Source: IPython, core/magics/osm.py, writefile
WRITTEN = re.compile(
    r"\s*%%(?:writefile|file)(?:\s+(?:-a|--append))?\s+[\"']?[^\n]{1,400}\.(?:sh|bash|bat|ps1)[\"']?\s*\n"
)
COMMAND = re.compile(r"(\s*)!")
ENV = re.compile(r"(\s*)%(?:set_)?env\s+(\w{1,80})(?:=|\s+)(.*\S)")
BRACED = re.compile(r"(?<!\$)\{(\w{1,80})\}")


def with_shell(subject: Subject, cells: Sequence[Cell], shown: Sequence[str]) -> Subject:
    """Add what the shell commands of a notebook run.

    Args:
        subject: of its Python
        cells: of the notebook
        shown: the lines of the script of all cells

    Returns:
        the subject, with places in that script
    """
    constants = _constants(subject)
    text = _shell_text(cells, len(shown), constants)
    if not text.strip():
        return subject
    variables: Variables = dict(constant(name, value) for name, value in constants.items())
    return with_commands(subject, command_facts(text, subject.path, variables))


def _constants(subject: Subject) -> Mapping[str, int | float | str]:
    """Return the numbers and texts that Python sets, as names and in os.environ."""
    if subject.script is None:
        return {}
    known = {**subject.script.constants, **dict(_environment(subject.script.tree))}
    return {name: value for name, value in known.items() if isinstance(value, int | float | str) and value is not True}


def _shell_text(cells: Sequence[Cell], lines: int, constants: Collection[str]) -> str:
    """Return the commands of all cells at their lines and columns, and nothing else."""
    kept = [""] * lines
    for cell in cells:
        for number, line in _commands(cell, constants):
            kept[cell.start - 1 + number] = line
    return "\n".join(kept) + "\n"


def _commands(cell: Cell, constants: Collection[str]) -> Iterator[tuple[int, str]]:
    """List the lines of a cell that a shell runs, with their index; values of %env are assignments."""
    if SHELL_CELL.match(cell.source) or WRITTEN.match(cell.source):
        first = next(i for i, line in enumerate(cell.lines) if line.strip())
        yield from ((i, line) for i, line in enumerate(cell.lines) if i > first)
        return
    if not is_python(cell.source):
        return

    def as_variable(match: re.Match[str]) -> str:
        """Write Python's `{name}` as a variable of the same length."""
        return f"%{match[1]}%" if match[1] in constants else match[0]

    continued = False
    for i, line in enumerate(cell.lines):
        start, setting = COMMAND.match(line), ENV.match(line)
        if continued or start:
            text = line if start is None or continued else f"{start[1]} {line[start.end() :]}"
            yield i, BRACED.sub(as_variable, text)
            continued = line.endswith("\\")
        elif setting:
            yield i, _assignment(setting)


def _assignment(setting: re.Match[str]) -> str:
    value = setting[3].strip("\"'")
    return f"{setting[2]}='{value}'" if "'" not in value else ""


def _environment(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """List the constants that a script writes into os.environ."""
    for node in nodes(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Constant):
            target = node.targets[0]
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) in ("os.environ", "environ"):
                name = target.slice
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, node.value.value
