"""The walker of scripts: order, branches that agree or not, code that is never reached."""

import ast
from textwrap import dedent

import pytest

from unnoise.check.script_walk import ScriptWalk


def walked(text: str, passes: int = 1) -> tuple[list[str], dict[str, str]]:
    """Follow a script; give the statements in order, and what each name is assigned at its end."""
    order: list[str] = []
    states: dict[str, str] = {}

    def visit(node: ast.AST, states: dict[str, str]) -> None:
        order.append(ast.unparse(node))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            states[node.targets[0].id] = ast.unparse(node.value)

    ScriptWalk(visit, passes).block(ast.parse(dedent(text)).body, states)
    return order, states


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("a = 1\na = 2", {"a": "2"}),
        ("a = 1\nif b:\n    a = 2", {}),
        ("a = 1\nif b:\n    a = 2\nelse:\n    a = 2", {"a": "2"}),
        ("a = 1\nif b:\n    a = 2\n    raise E\n", {"a": "1"}),
        ("if b:\n    raise E\nelse:\n    raise F\na = 1", {}),
        ("match b:\n    case 1:\n        a = 1", {}),
        ("a = 1\ntry:\n    a = 2\nexcept E:\n    raise", {"a": "2"}),
        ("a = 1\ntry:\n    a = 2\nexcept E:\n    pass", {}),
        ("try:\n    b = 1\nfinally:\n    a = 2", {"b": "1", "a": "2"}),
        ("for i in range(3):\n    a = 2", {"a": "2"}),
        ("with b:\n    a = 2", {"a": "2"}),
        ("a = 1\ndef f():\n    a = 2", {"a": "1"}),
        ("a = 1\nwhile b:\n    if c:\n        break\n    a = 2", {"a": "2"}),
    ],
)
def test_states_are_what_all_branches_agree_on(text: str, states: dict[str, str]) -> None:
    assert walked(text)[1] == states


def test_heads_come_before_bodies_and_loops_are_repeated() -> None:
    order, _ = walked("for i in f():\n    g()\nwith h():\n    k()\nif m():\n    n()", passes=2)
    assert order == ["f()", "g()", "g()", "h()", "k()", "m()", "n()"]


def test_long_and_deep_scripts_end() -> None:
    text = "x = 1\n"
    for _ in range(60):
        text = "for i in y:\n" + "".join(f" {line}\n" for line in text.splitlines())
    assert len(walked(text, passes=2)[0]) <= 20_000
    assert len(walked("f()\n" * 30_000)[0]) == 20_000
