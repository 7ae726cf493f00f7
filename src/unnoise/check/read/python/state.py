"""What is known at one point of a script: names, objects, pipelines, and all that was found on the way there."""

import ast
from dataclasses import dataclass, field

from unnoise.check.read.python.store import MISSING, Store
from unnoise.check.read.python.values import Class, Function, Pipe, Thing, Value
from unnoise.check.subject import Config, GenerationRun, NamedModel, Use
from unnoise.check.syntax import Places

BUDGET = 60_000  # nodes that are looked at: an honest script of 2,000 lines has some 15,000


class Exhausted(Exception):
    """Stop a script that does more than is followed."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Hold what a call passes. open: it passes more that is not known, by `*` or `**`."""

    values: tuple[Value, ...] = ()
    named: dict[str, Value] = field(default_factory=dict)
    open: bool = False

    def get(self, name: str, at: int | None = None) -> Value | None:
        if name in self.named:
            return self.named[name]
        return self.values[at] if at is not None and at < len(self.values) else None


@dataclass(slots=True)
class ScriptFacts:
    """Collect what a script says."""

    runs: list[GenerationRun] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    models: list[NamedModel] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)


class ScriptState:
    """Keep what a script has bound so far, in scopes, and collect what it says."""

    def __init__(self, places: Places) -> None:
        self.places, self.store, self.found = places, Store(), ScriptFacts()
        self.functions: dict[ast.AST, Function] = {}
        self.objects: dict[ast.AST, Thing] = {}
        self.classes: dict[ast.AST, Class] = {}
        self.done: set[ast.AST] = set()
        self.alone: set[ast.AST] = set()
        self.stack: list[ast.AST] = []
        self.returned: list[list[Value]] = []
        self.outer: dict[int, set[str]] = {}
        self._left, self._count = BUDGET, 0
        self._parents: dict[int, int | None] = {0: None}

    def number(self) -> int:
        """Return a number that was not given before."""
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
        """Find what a name is bound to."""
        at: int | None = scope
        while at is not None:
            found = self.store.get((at, name))
            if found is not MISSING:
                return found
            at = self._parents.get(at)
        return None

    def pipe(self, thing: Thing) -> Pipe:
        """Return a pipeline as it now is."""
        return self.store.get(("pipe", thing.number), Pipe(""))

    def set_pipe(self, thing: Thing, pipe: Pipe) -> None:
        """Change a pipeline."""
        self.store.put(("pipe", thing.number), pipe)

    def new_pipe(self, pipe: Pipe) -> Thing:
        """Make a pipeline."""
        thing = Thing("pipe", self.number())
        self.set_pipe(thing, pipe)
        return thing

    def spend(self) -> None:
        """Count one node; raises Exhausted when there have been too many."""
        self._left -= 1
        if self._left < 0:
            raise Exhausted
