"""Mutate a sampler and run its checks, which must fail: each sign, operator and coefficient in turn.

From tests/:  python -m sampling.flips   prints for each file the number of faults, and those that no check detects.
"""

import ast
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sampling.checks import (
    Grid,
    applies_its_weights,
    churn_is_as_published,
    consistency_function_is_exact,
    constant_is_exact,
    correction_is_shared,
    corrects_from_finite_levels,
    corrects_with_its_noise,
    crowded,
    ends_on_prediction,
    extrapolation_is_as_published,
    first_step_is_ancestral,
    gaussian_is_kept,
    halves_are_one_step,
    has_memory,
    jump_is_as_published,
    last_step_uses_two,
    mild,
    pure_noise_is_forgotten,
    repaints_as_published,
    restarts_as_published,
    rises_are_the_forward_process,
    rises_keep_gaussian_data,
    shifted,
    slope,
    weak_slope,
    weights_are_means,
    whole,
)
from unnoise.sampling import samplers

FOLDER = Path(samplers.__path__[0])
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}


def ordered(*grids: Grid, warm: int = 0, steps: int = 16) -> Callable[[Any], None]:
    """Return the check that the measured order is the claimed one."""

    def check(sampler: Any) -> None:
        for grid in grids:
            measure = weak_slope(sampler, grid, 1.7, steps) if sampler.stochastic else slope(sampler, grid, warm, steps)
            assert abs(measure - sampler.order) < 0.45

    return check


def second(grid: Grid) -> Callable[[Any], None]:
    """Return the check that the measured order is about 2, whatever a sampler claims."""

    def check(sampler: Any) -> None:
        assert abs(slope(sampler, grid, 0, 16) - 2) < 0.45

    return check


CHECKS: dict[str, list[tuple[str, list[Callable[[Any], None]]]]] = {
    "ddim": [
        ("DDIM()", [constant_is_exact, ends_on_prediction, gaussian_is_kept]),
        ("DDIM(eta=0.5)", [constant_is_exact, gaussian_is_kept]),
        ("Ancestral()", [constant_is_exact, gaussian_is_kept, pure_noise_is_forgotten]),
    ],
    "heun": [("Heun()", [constant_is_exact, ends_on_prediction, ordered(crowded)])],
    "dpmpp": [
        ("DPMpp2M()", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("DPMppSDE()", [constant_is_exact, first_step_is_ancestral, ordered(crowded)]),
        ("DPMpp3MSDE()", [constant_is_exact, first_step_is_ancestral, has_memory(2)]),
        ("DPMpp3M()", [constant_is_exact, ends_on_prediction, ordered(shifted, warm=2)]),
    ],
    "ipndm": [
        ("IPNDM(2)", [constant_is_exact, ends_on_prediction, ordered(shifted)]),
        ("IPNDM(4)", [constant_is_exact, ends_on_prediction, ordered(shifted, warm=3)]),
    ],
    "ab": [
        ("AB()", [constant_is_exact, weights_are_means, has_memory(1), ordered(crowded, steps=64)]),
        ("AB(3, rho=3.0, of='eps')", [constant_is_exact, weights_are_means, ordered(mild, warm=2)]),
        ("AB(3)", [constant_is_exact, last_step_uses_two, has_memory(2), ordered(mild, warm=2)]),
        ("AB(4, rho=1.0)", [constant_is_exact, has_memory(3), ordered(whole, warm=3, steps=64)]),
    ],
    "abm": [
        ("ABM(1)", [constant_is_exact, ordered(shifted), has_memory(4)]),
        ("ABM(2, last=1, share=0.75)", [constant_is_exact, correction_is_shared]),
        ("ABM(2)", [constant_is_exact, ordered(shifted), has_memory(4)]),
        ("ABM()", [ordered(whole, steps=64), correction_is_shared]),
    ],
    "fitted": [("Fitted(((0.9,), (1.2, -0.3), (1.1, 0.2, -0.4)))", [applies_its_weights])],
    "consistency": [("Consistency()", [constant_is_exact, consistency_function_is_exact, jump_is_as_published])],
    "dpm": [
        ("DPM2()", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("DPMpp2S()", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("DPMpp2SSDE()", [constant_is_exact, pure_noise_is_forgotten, halves_are_one_step, ordered(crowded)]),
    ],
    "edm": [
        ("EDMHeun(churn=0.0)", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("EDMHeun(churn=20.0, inflate=1.0)", [constant_is_exact, ordered(crowded, steps=100)]),
        ("EDMHeun(churn=20.0)", [churn_is_as_published]),
    ],
    "gradient": [
        ("GradientEstimation(1.5)", [constant_is_exact, ends_on_prediction, second(crowded)]),
        ("GradientEstimation()", [constant_is_exact, extrapolation_is_as_published]),
    ],
    "lms": [
        ("LMS(2)", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("LMS(4)", [constant_is_exact, ends_on_prediction, ordered(mild, warm=3), has_memory(3)]),
    ],
    "deis": [
        ("DEIS(2)", [constant_is_exact, ends_on_prediction, ordered(crowded)]),
        ("DEIS(3)", [constant_is_exact, ends_on_prediction, ordered(crowded, warm=2)]),
    ],
    "unipc": [
        (
            "UniPC(1)",
            [constant_is_exact, ends_on_prediction, corrects_from_finite_levels, ordered(crowded), has_memory(2)],
        ),
        ("UniPC(2)", [constant_is_exact, ends_on_prediction, ordered(crowded, warm=2), has_memory(3)]),
        ("UniPC(3)", [constant_is_exact, ends_on_prediction, ordered(crowded, warm=3), has_memory(4)]),
    ],
    "sa": [
        ("SASolver(2, 3, tau=0.0)", [constant_is_exact, ends_on_prediction, ordered(crowded, warm=2)]),
        ("SASolver(1, 3, tau=0.0)", [ordered(crowded, warm=2), has_memory(3)]),
        ("SASolver(2, 3, tau=0.5)", [constant_is_exact, corrects_with_its_noise, corrects_from_finite_levels]),
        ("SASolver(2, 0, tau=0.5)", [constant_is_exact, ordered(crowded)]),
        ("SASolver()", [constant_is_exact, first_step_is_ancestral, gaussian_is_kept, pure_noise_is_forgotten]),
    ],
    "restart": [
        ("Restart()", [constant_is_exact, rises_keep_gaussian_data, rises_are_the_forward_process]),
        ("RePaint()", [constant_is_exact, rises_keep_gaussian_data, rises_are_the_forward_process]),
        ("restarts", [restarts_as_published]),
        ("repaints", [repaints_as_published]),
    ],
}


def sites(tree: ast.Module) -> Iterator[ast.AST]:
    """List the nodes with a sign or a coefficient: arithmetic, minus signs, the numbers in them and in arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            yield node
            yield from (side for side in (node.left, node.right) if isinstance(side, ast.Constant))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and type(node.value.value) is float:
            yield node.value


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield copies of a module with one site changed, each with a description of the change."""
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
    """Return whether a module fails any of its checks; the checks find its samplers by name."""
    module = types.ModuleType("mutant")
    try:
        exec(compile(tree, file, "exec"), module.__dict__)
        with np.errstate(all="ignore"):
            for make, checks in CHECKS[file]:
                sampler = eval(make, module.__dict__)
                for check in checks:
                    check(sampler)
    except (Exception, pytest.fail.Exception):
        return True
    return False


def undetected(file: str) -> tuple[int, list[str]]:
    """Count the faults of a sampler's file, and list those that no check detects."""
    faults = list(mutants((FOLDER / f"{file}.py").read_text()))
    return len(faults), [fault for fault, tree in faults if not red(tree, file)]


if __name__ == "__main__":
    for name in CHECKS:
        count, survivors = undetected(name)
        print(f"{name:12} {count:4d} faults, {len(survivors)} undetected", *survivors, sep="\n    ")
