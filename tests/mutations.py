"""Mutate files of src/unnoise and run their tests, which must fail: each number, comparison and condition in turn.

From tests/:  python -m mutations generation/resolve.py train/ --sample 100 --seconds 600

Files and folders are those of src/unnoise; without any, all of TESTS. A mutation is written to a copy of src/, and runs
in a fork, with the tests that execute its lines. sampling/flips.py mutates the samplers; docs/mutations.md has results.
"""

import argparse
import ast
import copy
import importlib
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SOURCE = Path(__file__).parents[1] / "src"
TESTS = {  # of a file: the longest prefix counts
    "generation/": "generation",
    "generation/prepare.py": "generation adapters/test_controlnet.py integrations/test_foreign_pix2pix.py",
    "pipeline.py": "generation",
    "train/": "train",
    "diffusion/inpainting.py": "diffusion/test_inpainting.py diffusion/test_region.py generation/test_editing.py",
    "diffusion/tiling.py": "diffusion/test_tiling.py generation/test_engine.py",
    "diffusion/guidance.py": "diffusion/test_guidance.py diffusion/test_guided_flow.py",
    "diffusion/levels.py": "generation/test_resolve.py generation/test_editing.py",
}
IMPORTED = ("torch.distributed.tensor", "numpy", "PIL.Image", "safetensors.torch", "hypothesis")  # before the forks
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:anyio", "-W", "ignore::pytest.PytestAssertRewriteWarning")
JOBS, SECONDS, BROKEN = 2, 120, 70  # mutations at a time; time for each; exit status where tests could not begin
SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip


class Mutation(NamedTuple):
    """One change of a file. name: for people; lines: of the statement around it; text: the whole mutated file."""

    file: str
    name: str
    lines: range
    text: bytes


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in place of a node."""
    if isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in other_values(node.value))
    elif isinstance(node, ast.Compare):
        for k, operator in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[k] = SWAPPED[type(operator)]()
            yield other
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPPED:
        other = copy.copy(node)
        other.op = SWAPPED[type(node.op)]()
        yield other
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def other_values(value: object) -> list[Any]:
    """List what a constant is changed to: nothing for texts."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return {0: [1], 1: [0, 2]}.get(value, [value + 1, value // 2])
    if isinstance(value, float):
        return {0.0: [1.0], 1.0: [0.5, 2.0]}.get(value, [value * 2, value / 2])
    return []


def sites(tree: ast.AST, statement: ast.stmt | None = None) -> Iterator[tuple[ast.AST, ast.AST, ast.stmt]]:
    """Yield the nodes to replace, each with its replacement and its statement; not in f-strings and decorators."""
    for name, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr) or name == "decorator_list":
                continue
            inner = node if isinstance(node, ast.stmt) else statement
            if inner is not None and isinstance(node, ast.expr):
                yield from ((node, other, inner) for other in variants(node))
                if name in ("test", "ifs") and not isinstance(tree, ast.Assert):
                    yield from ((node, ast.Constant(value), inner) for value in (True, False))
                if name in ("defaults", "kw_defaults") and isinstance(node, ast.Constant) and type(node.value) is str:
                    yield node, ast.Constant(node.value + "?"), inner
            yield from sites(node, inner)


def mutations(file: str) -> list[Mutation]:
    """List the mutations of a file. Only the bytes of the node change, so the other lines stay where they are."""
    source = (SOURCE / "unnoise" / file).read_bytes()
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]
    found = []
    for node, other, statement in sites(ast.parse(source)):
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        after = ast.unparse(other)
        text = source[:first] + f"({after})".encode() + source[last:]
        body = getattr(statement, "body", None)
        end = body[0].lineno if body and body[0].lineno > statement.lineno else statement.end_lineno + 1
        name = f"{file}:{node.lineno}:{node.col_offset + 1}: {ast.unparse(node)} -> {after}"
        found.append(Mutation(file, name, range(statement.lineno, end), text))
    return found


class Tests:
    """A pytest plugin. The first run records the tests of each line; a later one runs only those of some lines."""

    def __init__(self, place: Path, files: list[str]) -> None:
        self.files = {str(place / "unnoise" / file): file for file in files}
        self.lines: dict[tuple[str, int], set[str]] = defaultdict(set)  # to names of tests; "" where import runs it
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()  # unmutated
        self.current = ""
        self.chosen = {""}

    def line(self, frame: Any, event: str, argument: Any) -> Any:
        if file := self.files.get(frame.f_code.co_filename):
            self.lines[file, frame.f_lineno].add(self.current)
        return self.line if file else None

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> None:
        self.current = request.node.nodeid  # of the file, or "", for a fixture that several tests use

    def pytest_runtest_call(self, item: Any) -> None:
        self.current = item.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        sound = [item for item in items if item.nodeid not in self.failed]
        chosen = [item for item in sound if {"", item.nodeid, item.nodeid.partition("::")[0]} & self.chosen]
        items[:] = sorted(chosen, key=lambda item: (self.seconds[item.nodeid] // 0.1, item.path))


def begin(place: Path, tests: list[str], plugin: Tests, *options: str) -> int:
    """Begin tests on the copy of src/ in a folder, in a child process; return its id."""
    if child := os.fork():
        return child
    try:
        file = os.open(place / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ["PYTHONPATH"] = str(place)
        sys.path.insert(0, str(place))
        if not options:
            sys.settrace(plugin.line)
        else:
            signal.alarm(SECONDS)
            sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        paths = [str(SOURCE.parent / test) for test in tests]
        status = pytest.main([*paths, *QUIET, f"--rootdir={SOURCE.parent}", *options], [plugin])
        (place / "tests").write_bytes(pickle.dumps(vars(plugin)))
        os._exit(status)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(BROKEN)


def recorded(place: Path, tests: list[str], files: list[str]) -> Tests:
    """Run tests on the source as it is, and return what they execute. Later runs share the bytecode written here."""
    plugin = Tests(place, files)
    if os.waitpid(begin(place, [f"tests/{test}" for test in tests], plugin), 0)[1] >> 8 == BROKEN:
        sys.exit((place / "output").read_text())
    vars(plugin).update(pickle.loads((place / "tests").read_bytes()))
    return plugin


def mutate(mutation: Mutation, place: Path, plugin: Tests) -> int:
    """Write a mutation into a copy of src/ and begin its tests; return the process id."""
    path = place / "unnoise" / mutation.file
    path.write_bytes(mutation.text)
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*"):
        bytecode.unlink()  # of a file that may have the same size and second
    plugin.chosen = set().union(*(plugin.lines.get((mutation.file, line), set()) for line in mutation.lines))
    names = plugin.seconds if "" in plugin.chosen else plugin.chosen
    return begin(place, sorted({name.partition("::")[0] for name in names}) or ["tests/clock.py"], plugin, "-x")


def run(
    todo: list[Mutation], tests: dict[str, Tests], places: list[Path], until: float
) -> Iterator[tuple[Mutation, bool]]:
    """Run mutations, one at a time in each copy of src/, until a time; yield each with whether it survived."""
    running: dict[int, tuple[Mutation, Path]] = {}
    while running or (todo and time.monotonic() < until):
        while places and todo and time.monotonic() < until:
            mutation, place = todo.pop(0), places.pop()
            running[mutate(mutation, place, tests[mutation.file])] = mutation, place
        child, status = os.wait()
        mutation, place = running.pop(child)
        shutil.copyfile(SOURCE / "unnoise" / mutation.file, place / "unnoise" / mutation.file)
        places.append(place)
        yield mutation, os.waitstatus_to_exitcode(status) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def main() -> None:
    """Run the mutations that the command line names, and print what survives."""
    parser = argparse.ArgumentParser(description="Mutate files of src/unnoise and run their tests.")
    parser.add_argument("files", nargs="*", default=list(TESTS), help="files and folders of src/unnoise")
    parser.add_argument("--sample", type=int, help="run so many mutations, drawn at random, the same ones each time")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutation after so long")
    options = parser.parse_args()
    until, folder = time.monotonic() + options.seconds, SOURCE / "unnoise"
    paths = [path for name in options.files for path in (sorted((folder / name).glob("*.py")) or [folder / name])]
    groups: dict[str, list[str]] = defaultdict(list)
    for file in dict.fromkeys(path.relative_to(folder).as_posix() for path in paths):
        groups[max((prefix for prefix in TESTS if file.startswith(prefix)), key=len)].append(file)
    todo = [mutation for files in groups.values() for file in files for mutation in mutations(file)]
    todo = random.Random(0).sample(todo, min(options.sample or len(todo), len(todo)))
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for name in IMPORTED:
        importlib.import_module(name)
    tried, survived, tests = Counter[str](), Counter[str](), dict[str, Tests]()
    with tempfile.TemporaryDirectory() as temporary:
        first, *others = places = [Path(temporary) / str(k) for k in range(JOBS)]
        shutil.copytree(SOURCE, first)
        for prefix, files in groups.items():
            tests |= dict.fromkeys(files, recorded(first, TESTS[prefix].split(), files))
        for place in others:
            shutil.copytree(first, place)
        for mutation, alive in run(todo, tests, places, until):
            tried[mutation.file] += 1
            survived[mutation.file] += alive
            if alive:
                print(mutation.name, flush=True)
    for file, count in sorted(tried.items()):
        print(f"{file:32} {count:4d} mutations, {survived[file]:3d} survive")


if __name__ == "__main__":
    main()
