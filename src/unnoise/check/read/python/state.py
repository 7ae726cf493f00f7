"""The known state at one point of a script: names, objects, pipelines, and the findings so far."""

import ast
from dataclasses import dataclass, field, replace

from unnoise.check.read.python.store import MISSING, Store
from unnoise.check.read.python.values import Class, Function, Pipe, Thing, Value
from unnoise.check.subject import Config, GenerationRun, Location, NamedModel, Use
from unnoise.check.syntax import Places

BUDGET = 60_000  # nodes that are followed; an ordinary script of 2,000 lines has about 15,000


class Exhausted(Exception):
    """Stop following a script that is too long."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Hold the arguments of a call. open: it passes further unknown ones, by `*` or `**`."""

    values: tuple[Value, ...] = ()
    named: dict[str, Value] = field(default_factory=dict)
    open: bool = False

    def get(self, name: str, at: int | None = None) -> Value | None:
        if name in self.named:
            return self.named[name]
        return self.values[at] if at is not None and at < len(self.values) else None


@dataclass(slots=True)
class ScriptFacts:
    """Collect the facts of a script."""

    runs: list[GenerationRun] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    models: list[NamedModel] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)


class ScriptState:
    """Store the bindings of a script so far, in scopes, and collect its facts."""

    def __init__(self, places: Places, tree: ast.Module) -> None:
        self.places, self.tree, self.store, self.found = places, tree, Store(), ScriptFacts()
        self.functions: dict[ast.AST, Function] = {}
        self.objects: dict[ast.AST, Thing] = {}
        self.classes: dict[ast.AST, Class] = {}
        self.done: set[ast.AST] = set()
        self.alone: set[ast.AST] = set()
        self.filled: dict[ast.AST, int] = {}  # functions that a page of Gradio calls, with the arguments that it gives
        self.stack: list[ast.AST] = []
        self.returned: list[list[Value]] = []
        self.outer: dict[int, set[str]] = {}
        self._left, self._count = BUDGET, 0
        self._parents: dict[int, int | None] = {0: None}

    def number(self) -> int:
        """Return a new number."""
        self._count += 1
        return self._count

    def scope(self, parent: int) -> int:
        """Open a scope within another."""
        number = self.number()
        self._parents[number] = parent
        return number

    def bind(self, name: str, value: Value, scope: int) -> None:
        """Bind a name."""
        self.store.put((0 if name in self.outer.get(scope, ()) else scope, name), value)

    def lookup(self, name: str, scope: int) -> Value | None:
        """Find the value of a name."""
        at: int | None = scope
        while at is not None:
            found = self.store.get((at, name))
            if found is not MISSING:
                return found
            at = self._parents.get(at)
        return None

    def place(self, value: Value) -> Location:
        """Return the place of a value, with the argument that reads it where that is elsewhere."""
        at = self.places.at(value.node)
        return at if value.use is None else replace(at, read_at=self.places.at(value.use))

    def pipe(self, thing: Thing) -> Pipe:
        """Return the current state of a pipeline."""
        return self.store.get(("pipe", thing.number), Pipe(""))

    def set_pipe(self, thing: Thing, pipe: Pipe) -> None:
        """Change a pipeline."""
        self.store.put(("pipe", thing.number), pipe)

    def new_pipe(self, pipe: Pipe) -> Thing:
        """Create a pipeline."""
        thing = Thing("pipe", self.number())
        self.set_pipe(thing, pipe)
        return thing

    def spend(self) -> None:
        """Count one node; raises Exhausted after too many."""
        self._left -= 1
        if self._left < 0:
            raise Exhausted
