"""Read a Python script that uses diffusers from its syntax tree; nothing in it is run."""

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from unnoise.check.read.python.expressions import evaluate
from unnoise.check.read.python.functions import finish
from unnoise.check.read.python.parse import Unparsed, parse
from unnoise.check.read.python.state import Exhausted, ScriptFacts
from unnoise.check.read.python.values import UNREAD, Value, plain
from unnoise.check.read.python.walk import Interpreter
from unnoise.check.subject import Location, ReadFault, Script, Subject, Tool
from unnoise.check.syntax import Places, is_exit, lines_of, nodes

STARTERS = ("subprocess", "os.system", "os.popen")  # in a script that may run commands
LONGEST = 300_000  # characters; the tree of the densest source takes 0.7 s and 130 MB


def read_script(text: str, path: str) -> Subject:
    """Read a script.

    Args:
        text: of the script, up to 300,000 characters
        path: of the file

    Returns:
        the runs, models, adapters and schedulers in the order of execution; a fault if the text is not Python
    """
    if (fault := too_long(text, path)) is not None:
        return fault
    try:
        tree = parse(text)
    except Unparsed as error:
        place = Location(path, (), error.line, error.column)
        texts = {path: text} if error.line is not None else {}
        return Subject(path=path, faults=(ReadFault(error.kind, place, error.message),), texts=texts)
    end = next((at for at, node in enumerate(tree.body, 1) if is_exit(node)), None)
    return follow(tree, text, path, tree.body[:end])


def too_long(text: str, path: str) -> Subject | None:
    """Return the subject of a script that is too long to be read; None for any other."""
    if len(text) <= LONGEST:
        return None
    message = f"is {len(text)} characters long, at most {LONGEST} are read"
    return Subject(path=path, faults=(ReadFault("unknown", Location(path), message),))


def follow(tree: ast.Module, text: str, path: str, reached: Sequence[ast.stmt] | None = None) -> Subject:
    """Follow a parsed script.

    Args:
        tree: of the script
        text: of the script
        path: of the file
        reached: the statements that run; None for all, as in a notebook, whose cells are run one by one

    Returns:
        its facts
    """
    places = Places(path, lines_of(text))
    walk = Interpreter(places, evaluate, tree)
    faults = []
    steps: list[Callable[[], object]] = []
    steps += [partial(walk.statement, node, 0) for node in (tree.body if reached is None else reached)]
    steps.append(partial(finish, walk))
    for step in steps:
        try:
            step()
        except Exhausted:
            break
        except RecursionError:
            faults = [ReadFault("broken", Location(path), "is nested too deeply to be followed completely")]
            walk.store.settle()
    found = walk.found
    subject = Subject(
        path=path,
        tool=_tool(found),
        models=tuple(found.models),
        configs=tuple(found.configs),
        runs=tuple(found.runs),
        uses=tuple(found.uses),
        faults=tuple(faults),
        script=Script(path, tree, tuple(places.lines), _constants(tree)),
        texts={path: text},
    )
    if not any(word in text for word in STARTERS):
        return subject
    from unnoise.check.read.python_commands import with_python_commands

    return with_python_commands(subject)


def _tool(found: ScriptFacts) -> Tool:
    if "mflux" in found.imports:
        return "mflux"
    return "diffusers" if "diffusers" in found.imports or found.runs else ""


def _constants(tree: ast.Module) -> Mapping[str, Any]:
    """Return the names that the script assigns once, at its top level, to a constant."""
    count: dict[str, int] = {}
    for node in nodes(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            count[node.id] = count.get(node.id, 0) + 1
    constants = {}
    for statement in tree.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
        target = statement.target if isinstance(statement, ast.AnnAssign) else target
        if isinstance(target, ast.Name) and count.get(target.id) == 1:
            value = _literal(getattr(statement, "value", None))
            if value is not UNREAD:
                constants[target.id] = value
    return constants


def _literal(node: ast.expr | None) -> Any:
    try:
        found = ast.literal_eval(node) if node is not None else UNREAD
    except (ValueError, TypeError, RecursionError, MemoryError):
        return UNREAD
    return plain(Value(found, node)) if isinstance(found, bool | int | float | str) and node is not None else found
