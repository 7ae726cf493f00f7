"""The walker of scripts for rules: statements in the order in which they run, with a state for each name."""

import ast
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

STATEMENTS = 20_000  # of one script that are followed
DEEPEST = 40  # nested blocks
S = TypeVar("S")


class ScriptWalk(Generic[S]):
    """Follow the statements of a script and keep a state for each name.

    The branches of a condition are followed separately. A name keeps its state only if all continuing branches agree on
    it. A function starts without states.

    Args:
        visit: receives a statement without blocks, or the head of one with blocks, and the states by name, which it may
            change; a state itself is immutable
        passes: how often the body of a loop is followed, at least 1
    """

    def __init__(self, visit: Callable[[ast.AST, dict[str, S]], None], passes: int = 1) -> None:
        self._visit = visit
        self._passes = passes
        self._left = STATEMENTS

    def block(self, body: Sequence[ast.stmt], states: dict[str, S], depth: int = 0) -> bool:
        """Follow statements in order.

        Args:
            body: the statements
            states: by name; changed in place
            depth: number of blocks around the statements

        Returns:
            True where the code after the statements is never reached
        """
        for statement in body if depth < DEEPEST else ():
            self._left -= 1
            if self._left < 0 or self._statement(statement, states, depth):
                return True
        return False

    def _statement(self, node: ast.stmt, states: dict[str, S], depth: int) -> bool:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.block(node.body, {}, depth + 1)
            case ast.If():
                self._visit(node.test, states)
                return self._branches([node.body, node.orelse], states, depth)
            case ast.Match():
                self._visit(node.subject, states)
                return self._branches([*(case.body for case in node.cases), []], states, depth)
            case ast.Try() | ast.TryStar():
                branches = [[*node.body, *node.orelse], *(handler.body for handler in node.handlers)]
                ended = self._branches(branches, states, depth)
                return self.block(node.finalbody, states, depth + 1) or ended
            case ast.For() | ast.AsyncFor() | ast.While():
                self._visit(node.test if isinstance(node, ast.While) else node.iter, states)
                for _ in range(self._passes):
                    self.block(node.body, states, depth + 1)
                self.block(node.orelse, states, depth + 1)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._visit(item.context_expr, states)
                return self.block(node.body, states, depth + 1)
            case _:
                self._visit(node, states)
        return isinstance(node, ast.Return | ast.Raise)

    def _branches(self, branches: Sequence[Sequence[ast.stmt]], states: dict[str, S], depth: int) -> bool:
        """Follow each branch from the same states, and keep the states on which the continuing branches agree."""
        ends = []
        for branch in branches:
            after = dict(states)
            if not self.block(branch, after, depth + 1):
                ends.append(after)
        if not ends:
            return True
        first, *others = ends
        agreed = {name: state for name, state in first.items() if all(_has(other, name, state) for other in others)}
        states.clear()
        states.update(agreed)
        return False


def _has(states: dict[str, S], name: str, state: S) -> bool:
    return name in states and states[name] == state
