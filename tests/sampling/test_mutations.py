"""Put one fault into a sampler, and see the checks go red: each sign, operator and coefficient in turn."""

import ast
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampling.checks import (
    consistency_function_is_exact,
    constant_is_exact,
    crowded,
    gaussian_is_kept,
    lands_on_prediction,
    pure_noise_is_forgotten,
    shifted,
    slope,
    weak_slope,
)
from unnoise.sampling import samplers

FOLDER = Path(samplers.__path__[0])
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}


def ordered(*grids: Callable[[int], tuple[float, ...]], warm: int = 0) -> Callable[[Any], None]:
    """Return the check that the measured order is the claimed one."""

    def check(sampler: Any) -> None:
        for grid in grids:
            measure = weak_slope(sampler, grid, 1.7, 16) if sampler.stochastic else slope(sampler, grid, warm, 16)
            assert abs(measure - sampler.order) < 0.45

    return check


CHECKS: dict[str, list[tuple[str, list[Callable[[Any], None]]]]] = {
    "ddim": [
        ("DDIM()", [constant_is_exact, lands_on_prediction, gaussian_is_kept]),
        ("DDIM(eta=0.5)", [constant_is_exact, gaussian_is_kept]),
        ("Ancestral()", [constant_is_exact, gaussian_is_kept, pure_noise_is_forgotten]),
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
    "consistency": [("Consistency()", [constant_is_exact, consistency_function_is_exact])],
}


def sites(tree: ast.Module) -> Iterator[ast.AST]:
    """List what carries a sign or a coefficient: arithmetic, minus signs, the numbers in them and in arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            yield node
            yield from (side for side in (node.left, node.right) if isinstance(side, ast.Constant))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and type(node.value.value) is float:
            yield node.value


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
            node.value = node.value / 2 if isinstance(node.value, float) else node.value + 1
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
    faults = list(mutants(source))
    assert faults
    assert not [fault for fault, tree in faults if not red(tree, file)]
