"""Mutate files of src/unnoise and run their tests, which must fail: each number, comparison and condition in turn.

From tests/:  python -m mutations generation/resolve.py train/ --sample 100 --seconds 600

Files are paths in src/unnoise, folders mean every file in them; without files, all of TESTS is mutated. The mutated
source is written to a copy of src/ in a temporary folder. torch is imported once; each mutation runs in a fork, with
the tests that execute the mutated lines. Sampling/flips.py mutates the samplers.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src"
# The tests of a file: the longest prefix counts.
TESTS = {
    "generation/": ["generation"],
    "pipeline.py": ["generation"],
    "train/": ["train"],
    "diffusion/inpainting.py": ["diffusion/test_inpainting.py", "generation/test_editing.py"],
    "diffusion/tiling.py": ["diffusion/test_tiling.py", "generation/test_engine.py"],
    "diffusion/guidance.py": ["diffusion/test_guidance.py", "diffusion/test_guided_flow.py"],
    "diffusion/levels.py": ["generation/test_resolve.py", "generation/test_editing.py"],
}
# Imported once, before the forks; unnoise itself is imported in each.
IMPORTED = ("torch.distributed.tensor", "numpy", "PIL.Image", "safetensors.torch", "hypothesis")
QUIET = ("-q", "-p", "no:cacheprovider", "-p", "no:anyio", "-W", "ignore::pytest.PytestAssertRewriteWarning")
SECONDS = 120  # for the tests of one mutation; a mutation can make a loop endless
SWAPPED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One change of a file. lines: of the statement around it; text: the whole mutated file."""

    file: str
    line: int
    column: int
    lines: range
    change: str
    text: bytes

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.change}"


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
            if isinstance(node, ast.keyword) and node.arg == "stacklevel":
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
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, other, statement in sites(ast.parse(source)):
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        after = ast.unparse(other)
        text = source[:first] + f"({after})".encode() + source[last:]
        try:
            ast.parse(text)
        except SyntaxError:
            continue
        body = getattr(statement, "body", None)
        end = body[0].lineno if body and body[0].lineno > statement.lineno else statement.end_lineno + 1
        lines, change = range(statement.lineno, end), f"{ast.unparse(node)} -> {after}"
        found.append(Mutation(file, node.lineno, node.col_offset + 1, lines, change, text))
    return found


class Trace:
    """A pytest plugin that records the tests of each line, the seconds of each test, and which fail unmutated."""

    def __init__(self, place: Path, files: list[str]) -> None:
        self.files = {str(place / "unnoise" / file): file for file in files}
        self.tests: dict[tuple[str, int], set[str]] = defaultdict(set)  # "" where the line runs on import
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.current = ""

    def line(self, frame: Any, event: str, argument: Any) -> Any:
        file = self.files.get(frame.f_code.co_filename)
        if file is not None:
            self.tests[file, frame.f_lineno].add(self.current)
        return None if file is None else self.line

    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> None:
        whole = fixturedef.scope != "function"  # any test of the file may use it
        self.current = request.node.nodeid.partition("::")[0] if whole else request.node.nodeid

    def pytest_runtest_call(self, item: Any) -> None:
        self.current = item.nodeid

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class Only:
    """A pytest plugin that runs the tests of some lines, the fast ones first, without those that fail unmutated."""

    def __init__(self, trace: Trace, tests: set[str]) -> None:
        self.seconds, self.failed, self.tests = trace.seconds, trace.failed, tests

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        names = {item: item.nodeid for item in items}
        chosen = [item for item, name in names.items() if {"", name, name.partition("::")[0]} & self.tests]
        chosen = [item for item in chosen if names[item] not in self.failed]
        items[:] = sorted(chosen, key=lambda item: (self.seconds[names[item]] > 0.5, item.path))


def run_tests(place: Path, tests: list[str], *options: str, plugin: object) -> int:
    """Run tests on the copy of src/ in a folder; return the exit status of pytest."""
    os.environ["PYTHONPATH"] = str(place)
    sys.path.insert(0, str(place))
    paths = [str(HERE.parent / test) for test in tests]
    return int(pytest.main([*paths, *QUIET, f"--rootdir={HERE.parent}", *options], [plugin]))


def forked(place: Path, work: Callable[[], int]) -> int:
    """Begin `work` in a child process, which prints to a file and exits with what it returns; return its id."""
    child = os.fork()
    if not child:
        status = 70
        try:
            file = os.open(place / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return child


def traced(place: Path, tests: list[str], files: list[str]) -> Trace:
    """Run tests on the source as it is; this also writes the bytecode that the later runs share."""
    trace = Trace(place, files)

    def work() -> int:
        sys.settrace(trace.line)
        run_tests(place, [f"tests/{test}" for test in tests], plugin=trace)
        sys.settrace(None)
        (place / "trace").write_bytes(pickle.dumps((trace.tests, trace.seconds, trace.failed)))
        return 0

    if os.waitpid(forked(place, work), 0)[1]:
        sys.exit((place / "output").read_text())
    trace.tests, trace.seconds, trace.failed = pickle.loads((place / "trace").read_bytes())
    return trace


def begin(mutation: Mutation, place: Path, trace: Trace) -> int:
    """Write a mutation into a copy of src/ and begin its tests; return the process id."""
    path = place / "unnoise" / mutation.file
    tests = set().union(*(trace.tests.get((mutation.file, line), set()) for line in mutation.lines))
    files = sorted({test.partition("::")[0] for test in (trace.seconds if "" in tests else tests)})
    path.write_bytes(mutation.text)
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*"):
        bytecode.unlink()  # of a file of the same size and second

    def work() -> int:
        signal.alarm(SECONDS)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return run_tests(place, files, "-x", plugin=Only(trace, tests)) if files else 0

    return forked(place, work)


def run(
    todo: list[Mutation], traces: dict[str, Trace], places: list[Path], until: float
) -> Iterator[tuple[Mutation, bool]]:
    """Run mutations, one at a time in each copy of src/, until a time; yield each with whether it survived."""
    running: dict[int, tuple[Mutation, Path]] = {}
    while True:
        while places and todo and time.monotonic() < until:
            mutation, place = todo.pop(0), places.pop()
            running[begin(mutation, place, traces[mutation.file])] = mutation, place
        if not running:
            return
        child, status = os.wait()
        mutation, place = running.pop(child)
        (place / "unnoise" / mutation.file).write_bytes((SOURCE / "unnoise" / mutation.file).read_bytes())
        places.append(place)
        yield mutation, os.waitstatus_to_exitcode(status) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def tests_of(file: str) -> list[str]:
    """Return the tests of a file."""
    return TESTS[max((prefix for prefix in TESTS if file.startswith(prefix)), key=len)]


def main() -> None:
    """Run the mutations that the command line names, and print what survives."""
    parser = argparse.ArgumentParser(description="Mutate files of src/unnoise and run their tests.")
    parser.add_argument("files", nargs="*", default=list(TESTS), help="files and folders of src/unnoise")
    parser.add_argument("--sample", type=int, help="run so many mutations, drawn at random with a seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutation after so long")
    parser.add_argument("--jobs", type=int, default=2, help="mutations at a time")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    folder = SOURCE / "unnoise"
    paths = [path for name in options.files for path in (sorted((folder / name).glob("*.py")) or [folder / name])]
    files = [path.relative_to(folder).as_posix() for path in paths]
    todo = [mutation for file in files for mutation in mutations(file)]
    if options.sample is not None:
        todo = random.Random(options.seed).sample(todo, min(options.sample, len(todo)))
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    for name in IMPORTED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as temporary:
        first, *others = places = [Path(temporary) / str(k) for k in range(options.jobs)]
        shutil.copytree(SOURCE, first)
        traces = {}
        for tests in {tuple(tests_of(file)) for file in files}:
            group = [file for file in files if tuple(tests_of(file)) == tests]
            traces |= dict.fromkeys(group, traced(first, list(tests), group))
        for place in others:
            shutil.copytree(first, place)
        tried, survived = Counter[str](), Counter[str]()
        for mutation, alive in run(todo, traces, places, until):
            tried[mutation.file] += 1
            survived[mutation.file] += alive
            if alive:
                print(mutation, flush=True)
    for file in files:
        print(f"{file:32} {tried[file]:4d} mutations, {survived[file]:3d} survive")


if __name__ == "__main__":
    main()
