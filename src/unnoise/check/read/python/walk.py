"""Interpret a script in the order in which it would run: the values of names, and the results of branches."""

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from unnoise.check.read.python import fold
from unnoise.check.read.python.pipes import either_pipe, no_schedule, set_part
from unnoise.check.read.python.state import ScriptState
from unnoise.check.read.python.store import MISSING
from unnoise.check.read.python.sweeps import marked
from unnoise.check.read.python.values import (
    MOST,
    UNREAD,
    Class,
    Function,
    Name,
    Pipe,
    ScheduleValue,
    Several,
    Thing,
    Value,
    same,
)
from unnoise.check.syntax import Places, is_exit

UNROLLED = 16  # passes through a loop over a known list


class Interpreter(ScriptState):
    """Follow one script. `express` is `expressions.evaluate`, which returns the value of an expression."""

    def __init__(
        self, places: Places, express: "Callable[[Interpreter, ast.expr, int], Value]", tree: ast.Module
    ) -> None:
        super().__init__(places, tree)
        self._express = express

    def value(self, node: ast.expr, scope: int) -> Value:
        """Return the value of an expression."""
        self.spend()
        return self._express(self, node, scope)

    def block(self, statements: Iterable[ast.stmt], scope: int) -> bool:
        """Follow statements; True where the code after them is not reached."""
        return any(self.statement(statement, scope) for statement in statements)

    def statement(self, node: ast.stmt, scope: int) -> bool:
        """Follow a statement; True where the code after it is not reached."""
        self.spend()
        match node:
            case ast.Expr():
                self.value(node.value, scope)
                return is_exit(node)
            case ast.Assign():
                value = self.value(node.value, scope)
                for target in node.targets:
                    self.assign(target, value, scope)
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.value(node.value, scope), scope)
            case ast.AugAssign():
                now, more = self.value(node.target, scope), self.value(node.value, scope)
                self.assign(node.target, fold.binary(node, node.op, now, more), scope)
            case ast.Import() | ast.ImportFrom():
                self._import(node, scope)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node, scope)
            case ast.ClassDef():
                self._define_class(node, scope)
            case ast.Return():
                value = self.value(node.value, scope) if node.value else Value(None, node)
                if self.returned:
                    self.returned[-1].append(value)
                return True
            case ast.Raise() | ast.Break() | ast.Continue():
                return True
            case _:
                return self._compound(node, scope)
        return False

    def _compound(self, node: ast.stmt, scope: int) -> bool:
        match node:
            case ast.If():
                return self._if(node, scope)
            case ast.For() | ast.AsyncFor():
                self._for(node, scope)
            case ast.While():
                self.value(node.test, scope)
                self._forget(node.body, scope)
                self.block(node.body, scope)
                self.block(node.orelse, scope)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    value = self.value(item.context_expr, scope)
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, value, scope)
                return self.block(node.body, scope)
            case ast.Try() | ast.TryStar():
                return self._try(node, scope)
            case ast.Match():
                self.value(node.subject, scope)
                self.branches([case.body for case in node.cases] + [[]], scope)
            case ast.Global() | ast.Nonlocal():
                self.outer.setdefault(scope, set()).update(node.names if isinstance(node, ast.Global) else ())
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.store.put((scope, target.id), MISSING)
            case _:
                pass
        return False

    def assign(self, target: ast.expr, value: Value, scope: int) -> None:
        """Bind the target of an assignment."""
        match target:
            case ast.Name():
                self.bind(target.id, value, scope)
            case ast.Tuple() | ast.List():
                self._unpack(target.elts, value, scope)
            case ast.Starred():
                self.assign(target.value, Value(UNREAD, value.node), scope)
            case ast.Attribute():
                self.set_attribute(self.value(target.value, scope), target.attr, value)
            case ast.Subscript():
                self._set_item(target, value, scope)
            case _:
                pass

    def _unpack(self, targets: Sequence[ast.expr], value: Value, scope: int) -> None:
        items = value.what if isinstance(value.what, list | tuple) else ()
        fits = len(items) == len(targets) and not any(isinstance(target, ast.Starred) for target in targets)
        for at, target in enumerate(targets):
            self.assign(target, items[at] if fits else Value(UNREAD, value.node), scope)

    def _set_item(self, target: ast.Subscript, value: Value, scope: int) -> None:
        key, table = self.value(target.slice, scope), self.value(target.value, scope)
        if isinstance(table.what, dict) and isinstance(key.what, str | int):
            fits = len(table.what) < MOST
            changed = Value({**table.what, key.what: value} if fits else UNREAD, table.node)
            self.assign(target.value, changed, scope) if not isinstance(target.value, ast.Call) else None
        elif isinstance(table.what, dict | list) and isinstance(target.value, ast.Name | ast.Attribute):
            self.assign(target.value, Value(UNREAD, target), scope)

    def set_attribute(self, owner: Value, name: str, value: Value) -> None:
        """Follow `owner.name = value`; `expressions` handles pipelines."""
        thing = owner.what
        if isinstance(thing, Thing) and thing.kind == "object":
            self.store.put(("object", thing.number, name), value)
        elif isinstance(thing, Thing) and thing.kind == "pipe":
            set_part(self, thing, name, value)
        elif isinstance(thing, Class):
            self.store.put((thing.scope, name), value)

    def branches(self, bodies: Sequence[Sequence[ast.stmt]], scope: int) -> bool:
        """Follow bodies of which an unknown one is taken; True where none of them continues."""
        written, ended = [], []
        for body in bodies:
            self.store.begin()
            try:
                ended.append(self.block(body, scope))
            finally:
                written.append(self.store.undo())
        left = [log for log, end in zip(written, ended, strict=True) if not end] or written[-1:]
        joined = left[0]
        for log in left[1:]:
            self.store.begin()
            self.store.join(joined, log, self.either)
            joined = self.store.undo()
        self.store.join(joined, joined, lambda one, _: one)
        return all(ended)

    def _if(self, node: ast.If, scope: int) -> bool:
        known = fold.truth(self.value(node.test, scope))
        if known is None:
            return self.branches([node.body, node.orelse], scope)
        return self.block(node.body if known else node.orelse, scope)

    def _for(self, node: ast.For | ast.AsyncFor, scope: int) -> None:
        over = self.value(node.iter, scope)
        items = over.what if isinstance(over.what, list | tuple) else None
        if items is not None and 0 < len(items) <= UNROLLED:
            for item in marked(items):
                self.assign(node.target, item, scope)
                self.block(node.body, scope)
        else:
            self._forget(node.body, scope)
            one = over.what.one if isinstance(over.what, Several) else Value(UNREAD, node.iter)
            self.assign(node.target, one, scope)
            self.block(node.body, scope)
        self.block(node.orelse, scope)

    def _forget(self, body: Sequence[ast.stmt], scope: int) -> None:
        """Forget the constants that a loop changes, before following its first pass."""
        for statement in body:
            for node in ast.walk(statement):
                self.spend()
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    now = self.lookup(node.id, scope)
                    if now is not None and not isinstance(now.what, Thing):
                        self.bind(node.id, Value(UNREAD, now.node), scope)

    def _try(self, node: ast.Try | ast.TryStar, scope: int) -> bool:
        ended = self.block(node.body, scope)
        for handler in node.handlers:
            self.store.begin()
            try:
                self.block(handler.body, scope)
            finally:
                written = self.store.undo()
            fresh = {key: value for key, value in written.items() if self.store.get(key) is MISSING}
            self.store.join(fresh, fresh, lambda one, _: one)
        return self.block([*node.orelse, *node.finalbody], scope) or ended

    def either(self, one: Any, other: Any) -> Any:
        """Join the values of two branches: equal values stay, all others are unknown."""
        if same(one, other):
            return one
        if isinstance(one, Pipe) and isinstance(other, Pipe):
            return either_pipe(one, other)
        if not (isinstance(one, Value) and isinstance(other, Value)):
            return other
        if isinstance(one.what, Thing) and isinstance(other.what, Thing) and one.what.kind == other.what.kind == "pipe":
            thing = self.new_pipe(self.either(self.pipe(one.what), self.pipe(other.what)))
            return Value(thing, other.node)
        if isinstance(one.what, ScheduleValue) and isinstance(other.what, ScheduleValue):
            return Value(ScheduleValue(no_schedule(self.places.at(other.node))), other.node)
        return Value(UNREAD, other.node)

    def _import(self, node: ast.Import | ast.ImportFrom, scope: int) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                self.found.imports.add(alias.name.split(".")[0])
                dotted = alias.name if alias.asname else alias.name.split(".")[0]
                self.bind(alias.asname or dotted, Value(Name(dotted), node), scope)
            else:
                module = node.module or ""
                self.found.imports.add(module.split(".")[0])
                if alias.name != "*":
                    self.bind(alias.asname or alias.name, Value(Name(f"{module}.{alias.name}"), node), scope)

    def _define_class(self, node: ast.ClassDef, scope: int) -> None:
        own, based = self.scope(scope), ""
        for base in [self.value(base, scope).what for base in node.bases]:
            if isinstance(base, Name):
                based = based or base.dotted
            elif isinstance(base, Class):
                based = based or base.based
                self._inherit(base, own)
        class_ = Class(node, own, based)
        self.classes[node] = class_
        self.bind(node.name, Value(class_, node), scope)
        self.block(node.body, own)

    def _inherit(self, base: Class, scope: int) -> None:
        """Copy the methods and constants of a class into the scope of a subclass."""
        for statement in base.node.body:
            names = [statement.name] if isinstance(statement, ast.FunctionDef) else []
            if isinstance(statement, ast.Assign):
                names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            for name in names:
                found = self.store.get((base.scope, name))
                if found is not MISSING:
                    self.store.put((scope, name), found)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: int) -> None:
        function = Function(node, scope)
        self.functions.setdefault(node, function)
        self.bind(node.name, Value(function, node), scope)
