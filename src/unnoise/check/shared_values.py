"""Find whether a value that a fix would replace has another reader too; such a value is not replaced.

A script may read a constant in several calls, a workflow may link one node to several samplers, and a shell may use one
variable in several commands.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache

from unnoise.check.subject import GenerationRun, Located, Location, Script, Subject
from unnoise.check.syntax import Places, dotted, name_of, nodes

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# Expressions that pass a value on unchanged: the reader of the whole reads the part.
CONTAINERS = (ast.Dict, ast.List, ast.Tuple, ast.Set, ast.IfExp, ast.BoolOp, ast.Starred, ast.keyword, ast.Attribute)
COPIES = ("dict", "list", "tuple", "partial", "SimpleNamespace", "copy", "deepcopy")
ASSIGNED = re.compile(r"(?:^|[\s;])\$?(\w{1,80})=$")
# Expressions of numbers and texts alone, which a fix may replace.
LITERALS = (ast.Constant, ast.UnaryOp, ast.BinOp, ast.Tuple, ast.List, ast.operator, ast.unaryop, ast.expr_context)
DEEPEST = 20  # names that pass on a value


def is_literal(place: Location, subject: Subject) -> bool:
    """Return whether a place of a script is a literal, and not an expression that reads something; else True."""
    script = subject.script
    if script is None or place.path != script.path:
        return True
    node = _readers(script).nodes.get(place)
    return node is not None and all(isinstance(one, LITERALS) for one in ast.walk(node))


def is_shared(place: Location, subject: Subject) -> bool:
    """Return whether the value at a place has more than one reader.

    Args:
        place: of the value, with lines and columns
        subject: with the script, the workflow or the shell text

    Returns:
        True also where the readers cannot be counted
    """
    if subject.script is not None and place.path == subject.script.path:
        runs = [run for run in subject.runs if place in _places(run)]
        return any(_setup(run) != _setup(runs[0]) for run in runs) or _in_script(place, subject.script)
    if subject.tool == "comfyui":
        from unnoise.check.read.comfy.several_inputs import feeds_several_inputs

        return _in_workflow(place, subject.runs) or feeds_several_inputs(place.keys, subject.texts[place.path])
    return _in_shell(place, subject.texts.get(place.path, ""))


def _in_workflow(place: Location, runs: Sequence[GenerationRun]) -> bool:
    """Count the samplers that read a value; that of a sampler's own node is none of the next one's other values."""
    own = any(place.keys[: len(run.place.keys)] == run.place.keys for run in runs)
    skipped = ("others",) if own else ()
    return len({run.place for run in runs if place.keys in (at.keys for at in _places(run, skipped))}) > 1


def _places(run: GenerationRun, skipped: Sequence[str] = ()) -> Iterator[Location]:
    """List the places of all values of a run, without those of skipped fields."""
    for entry in fields(run):
        if entry.name in skipped:
            continue
        value = getattr(run, entry.name)
        listed = value.values() if isinstance(value, Mapping) else [value]
        yield from (one.place for one in listed if isinstance(one, Located))
    yield from (use.strength.place for use in run.adapters if use.strength is not None)


def _in_shell(place: Location, text: str) -> bool:
    """Count the uses of a variable, if the place is in the value of its assignment."""
    if place.line is None or place.column is None or place.keys:
        return False
    from unnoise.check.read.shell.variables import assigned_spans

    lines = text.split("\n")
    at = sum(len(line) + 1 for line in lines[: place.line - 1]) + place.column
    found = next((name for start, end, name in assigned_spans(text) if start <= at < end), "")
    name = found or (match[1] if (match := ASSIGNED.search(lines[place.line - 1][: place.column])) else "")
    return bool(name) and len(re.findall(rf"\$\{{?{name}\b|%{name}%", text)) > 1


def is_own_argument(place: Location, subject: Subject) -> bool:
    """Return whether a fix may write at the argument that reads a constant, in place of the constant.

    Args:
        place: of the constant, with the argument that reads it
        subject: with the script

    Returns:
        True where the argument is the name of the constant, and all runs with this argument are of one pipeline
    """
    script, use = subject.script, place.read_at
    if script is None or use is None or place.path != script.path:
        return False
    readers = _readers(script)
    constant, argument = readers.nodes.get(place), readers.nodes.get(use)
    if constant is None or not isinstance(argument, ast.Name) or argument.id not in readers.names_of(constant):
        return False
    runs = [run for run in subject.runs if use in (at.read_at for at in _places(run))]
    if any(_setup(run) != _setup(runs[0]) for run in runs):
        return False
    try:
        return not readers.are_several(argument)
    except RecursionError:
        return False


def only_tries(place: Location, subject: Subject) -> bool:
    """Return whether the runs that read a value only try whether the code works; all runs where none states it."""
    runs = [run for run in subject.runs if place in _places(run)] or subject.runs
    return bool(runs) and all(run.trial for run in runs)


def _setup(run: GenerationRun) -> tuple[object, ...]:
    return run.pipeline, run.model, run.adapters, run.schedule


def _in_script(place: Location, script: Script) -> bool:
    readers = _readers(script)
    node = readers.nodes.get(place)
    try:
        return node is None or readers.are_several(node)
    except RecursionError:
        return True


@lru_cache(maxsize=2)
def _readers(script: Script) -> "_Readers":
    return _Readers(script)


class _Readers:
    """Count the expressions that read a value of a script.

    The count is by names, not by bindings at run time: a name that is read twice has two readers. A value that one
    reader passes on is followed to the next name.

    Args:
        script: the script
    """

    def __init__(self, script: Script) -> None:
        tree = self._tree = script.tree
        places = Places(script.path, script.lines)
        self.nodes = {places.at(node): node for node in reversed(nodes(tree)) if isinstance(node, ast.expr)}
        self._parents = {child: node for node in nodes(tree) for child in ast.iter_child_nodes(node)}
        self._functions = {node.name: node for node in nodes(tree) if isinstance(node, ast.FunctionDef)}
        self._classes = {node.name for node in nodes(tree) if isinstance(node, ast.ClassDef)}

    def names_of(self, node: ast.AST) -> list[str]:
        """Return the names that a statement binds to an expression."""
        parent = self._parents.get(node)
        targets = parent.targets if isinstance(parent, ast.Assign) else []
        targets = [parent.target] if isinstance(parent, ast.AnnAssign) else targets
        return [target.id for target in targets if isinstance(target, ast.Name)]

    def are_several(self, node: ast.AST, depth: int = 0) -> bool:
        """Return whether the value of an expression has more than one reader.

        Args:
            node: the expression
            depth: number of names that passed on the value

        Returns:
            True also where that is not known
        """
        parent = self._parents.get(node)
        if depth > DEEPEST:
            return True
        match parent:
            case ast.Call() if parent.func is not node:
                return self._argument(parent, node, depth)
            case ast.Assign():
                return any(self._target(target, parent, depth) for target in parent.targets)
            case ast.AnnAssign() | ast.For() | ast.AsyncFor() | ast.comprehension():
                return self._target(parent.target, parent, depth)
            case ast.arguments():
                return self._default(parent, node, depth)
            case ast.Return() | ast.NamedExpr() | ast.Yield():
                return True
        return isinstance(parent, (*CONTAINERS, ast.Call)) and self.are_several(parent, depth)

    def _argument(self, call: ast.Call, node: ast.AST, depth: int) -> bool:
        """Follow a value into a call: to a parameter, an option, or the object that contains it."""
        name = name_of(call.func)
        if isinstance(call.func, ast.Name) and name in self._functions:
            return self._parameter(self._functions[name], call, node, depth)
        if name in self._classes:
            return True
        if name == "add_argument":
            options = [str(one.value) for one in call.args if isinstance(one, ast.Constant)]
            return self._attribute(max(options, key=len, default="").lstrip("-").replace("-", "_"), None, depth)
        words = dotted(call.func).split(".")
        contains = any(word[:1].isupper() and "Pipeline" not in word for word in words)
        return (contains or name in COPIES) and self.are_several(call, depth)

    def _parameter(self, function: ast.FunctionDef, call: ast.Call, node: ast.AST, depth: int) -> bool:
        places = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        named = [one.arg for one in function.args.kwonlyargs]
        if isinstance(node, ast.keyword):
            name = node.arg if node.arg in (*places, *named) else None
        else:
            at = call.args.index(node) if node in call.args else len(places)
            name = places[at] if at < len(places) else None
        return name is None or self._name(name, function, depth)

    def _default(self, arguments: ast.arguments, node: ast.AST, depth: int) -> bool:
        places = [*arguments.posonlyargs, *arguments.args]
        pairs = [*zip(places[::-1], arguments.defaults[::-1], strict=False)]
        pairs += [
            (one, default) for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default
        ]
        name = next((one.arg for one, default in pairs if default is node), "")
        return self._name(name, self._parents[arguments], depth)

    def _target(self, target: ast.expr, statement: ast.AST, depth: int) -> bool:
        """Count the readers of the names that a statement binds."""
        if isinstance(target, ast.Attribute):
            return self._attribute(target.attr, statement, depth)
        while isinstance(target, ast.Subscript):
            target = target.value
        names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
        owner = self._scope(statement)
        if isinstance(owner, ast.ClassDef):
            return any(self._attribute(name, statement, depth) for name in names)
        return not names or any(self._name(name, owner, depth) for name in names)

    def _scope(self, node: ast.AST) -> ast.AST:
        while node in self._parents and not isinstance(node, Function | ast.ClassDef):
            node = self._parents[node]
        return node

    def _name(self, name: str, owner: ast.AST, depth: int) -> bool:
        """Count the reads of a name in a function or in the script."""
        if any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(owner)):
            owner = self._tree
        reads = [node for node in self._reads(name, owner) if not self._is_stored_into(node)]
        return len(reads) > 1 or (len(reads) == 1 and self.are_several(reads[0], depth + 1))

    def _reads(self, name: str, owner: ast.AST) -> Iterator[ast.Name]:
        for node in ast.iter_child_nodes(owner):
            if isinstance(node, Function) and _binds(node, name):
                continue
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                yield node
            yield from self._reads(name, node)

    def _is_stored_into(self, node: ast.AST) -> bool:
        parent = self._parents.get(node)
        return isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Store)

    def _attribute(self, name: str, statement: ast.AST | None, depth: int) -> bool:
        """Count the reads of an attribute after the statement that sets it."""
        last = getattr(statement, "end_lineno", 0) if self._runs_once(statement) else 0
        own = {id(node) for node in ast.walk(statement)} if statement is not None else set()
        reads = [
            node
            for node in nodes(self._tree)
            if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)
            if id(node) not in own and node.lineno > last
        ]
        return len(reads) > 1 or (len(reads) == 1 and self.are_several(reads[0], depth + 1))

    def _runs_once(self, statement: ast.AST | None) -> bool:
        return statement is not None and isinstance(self._parents.get(statement), ast.Module)


def _binds(function: ast.AST, name: str) -> bool:
    """Return whether a function has a parameter or a variable of its own of this name."""
    nodes = list(ast.walk(function))
    if any(isinstance(node, ast.Global | ast.Nonlocal) and name in node.names for node in nodes):
        return False
    stored = (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in nodes)
    return any(stored) or any(isinstance(node, ast.arg) and node.arg == name for node in nodes)
