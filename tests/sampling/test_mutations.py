"""Put one fault into a sampler, and see the checks go red: each sign, operator and coefficient in turn."""

import ast
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampling.checks import (
    constant_is_exact,
    crowded,
    gaussian_is_kept,
    lands_on_prediction,
    shifted,
    slope,
    weak_slope,
)
from unnoise.sampling import samplers

FOLDER = Path(samplers.__path__[0])
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
SAME: dict[str, list[str]] = {}


def ordered(*grids: Callable[[int], tuple[float, ...]], warm: int = 0) -> Callable[[Any], None]:
    """Return the check that the measured order is the claimed one."""

    def check(sampler: Any) -> None:
        for grid in grids:
            measure = weak_slope(sampler, grid, 1.7, 64) if sampler.stochastic else slope(sampler, grid, warm, 32)
            assert abs(measure - sampler.order) < 0.45

    return check


CHECKS: dict[str, list[tuple[str, list[Callable[[Any], None]]]]] = {
    "ddim": [
        ("DDIM()", [constant_is_exact, lands_on_prediction, gaussian_is_kept]),
        ("DDIM(eta=0.5)", [constant_is_exact, gaussian_is_kept]),
        ("Ancestral()", [constant_is_exact, gaussian_is_kept]),
    ],
    "heun": [("Heun()", [constant_is_exact, lands_on_prediction, ordered(crowded)])],
    "dpmpp": [
        ("DPMpp2M()", [constant_is_exact, lands_on_prediction, ordered(crowded)]),
        ("DPMppSDE()", [constant_is_exact, ordered(crowded)]),
        ("DPMpp3M()", [constant_is_exact, lands_on_prediction, ordered(shifted, warm=2)]),
    ],
    "ipndm": [
        ("IPNDM(2)", [constant_is_exact, lands_on_prediction, ordered(shifted)]),
        ("IPNDM(4)", [constant_is_exact, lands_on_prediction, ordered(shifted, warm=3)]),
    ],
    "consistency": [("Consistency()", [constant_is_exact, lands_on_prediction])],
}


def sites(tree: ast.Module) -> Iterator[ast.AST]:
    """List what carries a sign or a coefficient: arithmetic, minus signs, and the numbers in both."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            yield node
            yield from (side for side in (node.left, node.right) if isinstance(side, ast.Constant))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield copies of a module with one site changed, each with what was changed."""
    for k in range(len(list(sites(ast.parse(source))))):
        tree = ast.parse(source)
        node = list(sites(tree))[k]
        before = ast.unparse(node)
        if isinstance(node, ast.BinOp):
            node.op = SWAPPED[type(node.op)]()
        elif isinstance(node, ast.UnaryOp):
            node.op = ast.UAdd()
        elif isinstance(node, ast.Constant):
            node.value += 1
        yield f"line {node.lineno}: {before} -> {ast.unparse(node)}", tree


def red(tree: ast.Module, file: str) -> bool:
    """Tell whether a module fails any of its checks; the checks look its samplers up by name."""
    module = types.ModuleType("mutant")
    try:
        exec(compile(tree, file, "exec"), module.__dict__)
        for make, checks in CHECKS[file]:
            sampler = eval(make, module.__dict__)
            for check in checks:
                check(sampler)
    except Exception:
        return True
    return False


def test_every_file_is_covered() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(CHECKS)


@pytest.mark.parametrize("file", CHECKS)
def test_a_fault_is_seen(file: str) -> None:
    source = (FOLDER / f"{file}.py").read_text()
    assert not red(ast.parse(source), file)
    alive = [fault for fault, tree in mutants(source) if not red(tree, file)]
    assert [fault.partition(": ")[2] for fault in alive] == SAME.get(file, [])
