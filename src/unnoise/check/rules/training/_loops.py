"""The calls of `step`, `zero_grad` and `backward` in the training loops of a script, in their order."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unnoise.check.syntax import last_name, name_of, nodes

METHODS = ("step", "zero_grad", "backward")
DEEPEST = 30  # statements inside one another


@dataclass(frozen=True, slots=True)
class LoopCall:
    """Describe a call in a loop.

    Args:
        owner: the last name of its object, in lower case
        method: one of METHODS
        call: the call
        guard: the divisor of a batch counter around it; None where it runs for every batch
        accumulates: it is inside `with accelerator.accumulate(...)`
    """

    owner: str
    method: str
    call: ast.Call
    guard: ast.expr | None = None
    accumulates: bool = False


def training_loops(tree: ast.Module) -> Iterator[tuple[ast.For | ast.While, list[LoopCall]]]:
    """List the loops of a script, each with its calls, without those of inner loops."""
    for loop in nodes(tree):
        if isinstance(loop, ast.For | ast.While):
            yield loop, list(_calls(loop.body, LoopCall("", "", ast.Call(func=ast.Name(""), args=[], keywords=[]))))


def _calls(body: Sequence[ast.stmt], around: LoopCall, depth: int = 0) -> Iterator[LoopCall]:
    """List the calls of some statements. around: has the guard and the context that they share."""
    for node in body if depth < DEEPEST else ():
        if isinstance(node, ast.If):
            divisor = counted(node.test)
            takes_turns = bool(node.orelse) and isinstance(divisor, ast.Constant)
            guarded = replace(around, guard=around.guard or (None if takes_turns else divisor))
            yield from _calls(node.body, guarded, depth + 1)
            yield from _calls(node.orelse, around, depth + 1)
        elif isinstance(node, ast.With):
            contexts = {last_name(item.context_expr) for item in node.items}
            inside = replace(around, accumulates=around.accumulates or "accumulate" in contexts)
            yield from _calls(node.body, inside, depth + 1)
        elif isinstance(node, ast.Try):
            yield from _calls(node.body, around, depth + 1)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            func = node.value.func
            if isinstance(func, ast.Attribute) and func.attr in METHODS:
                yield replace(around, owner=last_name(func.value).lower(), method=func.attr, call=node.value)


def counted(test: ast.expr) -> ast.expr | None:
    """Return what a condition such as `(i + 1) % accumulation == 0` divides by.

    A number counts only under a plain counter: `(i // 4) % 2` takes turns between two networks.
    """
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            counter = node.left.left if isinstance(node.left, ast.BinOp) else node.left
            is_plain = isinstance(counter, ast.Name) and isinstance(getattr(node.left, "op", ast.Add()), ast.Add)
            is_number = isinstance(node.right, ast.Constant) and type(node.right.value) is int
            if "accum" in name_of(node.right).lower() or (is_plain and is_number):
                return node.right
    return None
