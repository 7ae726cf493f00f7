"""README and docs/ are tested: blocks run, signatures match the code, links resolve, no figure is missing.

A fenced block begins with its language and, where it needs one, a note:

    python                   runs in an empty folder that sees recipes/ and examples/
    python signatures        is compared with the code, name by name; `# unnoise.pipeline` says where it is
    python example           is that of a rule, which tests/check/test_rules.py runs
    console                  what follows `$ ` runs, the first of each command in a process of its own, the others in
                             this one; other lines must come out, `…` stands for anything
    console exits-1          the same, where a command is to find something
    console not-run: REASON  is counted as a skip
    toml, json               must parse
    text                     is free
"""

import ast
import importlib
import inspect
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from unnoise.cli.main import app, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^```(\w*)[ ]*(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
SHOWN = {"git": "needs a server", "cd": "is the shell's own", "pip": "changes the environment of the tests"}


@dataclass(frozen=True)
class Block:
    """A fenced block, with the number of its first line inside."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        language, note, body = match.groups()
        yield Block(page, text.count("\n", 0, match.start()) + 2, language, note, body)


BLOCKS = [block for page in PAGES for block in blocks(page)]


def those(language: str, *, signatures: bool = False) -> pytest.MarkDecorator:
    """Run a test on each block of a language."""
    found = [block for block in BLOCKS if block.language == language and block.note != "example"]
    chosen = [block for block in found if (block.note == "signatures") == signatures]
    return pytest.mark.parametrize("block", chosen, ids=str)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with links to what the pages use."""
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@those("python")
def test_python_runs(block: Block, folder: Path) -> None:
    assert not block.note, f"{block}: unknown note {block.note!r}"
    script = folder / "block.py"
    script.write_text("\n" * (block.line - 1) + block.text, encoding="utf-8")
    runpy.run_path(str(script))


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Split a console block into commands and the lines of their output."""
    for part in re.split(r"^\$ ", text.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield shlex.split(command, comments=True), [line.strip() for line in lines if line.strip()]


def comes_out(line: str, output: str) -> bool:
    return re.search(".*".join(re.escape(part.strip()) for part in line.split("…")), output) is not None


def firsts() -> dict[str, str]:
    """Say which block is the first to run a command, by its name."""
    ran = (block for block in BLOCKS if block.language == "console" and not block.note.startswith("not-run"))
    found: dict[str, str] = {}
    for block in ran:
        for command, _ in commands(block.text):
            found.setdefault(command[1] if command[0] == "unnoise" else command[0], str(block))
    return found


def here(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours in this process, which has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(command[1:])
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def assert_parsed(block: Block) -> None:
    """Parse the commands of ours in a block that takes too long to run."""
    for command, _ in commands(block.text):
        if "unnoise" in command:
            words = command[command.index("unnoise") + 1 : command.index(">") if ">" in command else None]
            app(words).parse_args(words, exit_on_error=False, print_error=False)
        elif command[0] == "python":
            assert (ROOT / command[1]).is_file(), f"{block}: no such script: {command}"


@pytest.mark.slow
@those("console")
@pytest.mark.filterwarnings("default")  # as a command has it: warnings are lines on stderr
def test_console_runs(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.note.startswith("not-run: "):
        return assert_parsed(block)
    assert block.note in ("", "exits-1"), f"{block}: unknown note {block.note!r}"
    code = 1 if block.note else 0
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")
    alone = {name for name, first in firsts().items() if first == str(block)}
    assert block.text.startswith("$ "), f"{block}: a console block begins with a command"
    for command, lines in commands(block.text):
        if command[0] == "make":
            assert set(command[1:]) <= TARGETS, f"{block}: no such target: {command}"
        elif command[0] not in SHOWN:
            example = command[0] == "python" and command[1].startswith("examples/")
            assert command[0] == "unnoise" or example, f"{block}: what is {command[0]!r}?"
            if example or command[1] in alone:
                alone -= {command[1]}
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            else:
                done = here(command)
            assert done.returncode == code, f"{block}: {command}\n{done.stdout}{done.stderr}"
            for line in lines:
                assert comes_out(line, done.stdout), f"{block}: {line!r} did not come out:\n{done.stdout}"


@those("python", signatures=True)
def test_signatures_match(block: Block) -> None:
    _, *parts = re.split(r"^# (unnoise[\w.]*).*\n", block.text, flags=re.MULTILINE)
    assert parts, f"{block}: names no module"
    for name, source in zip(parts[::2], parts[1::2], strict=True):
        compare(ast.parse(source).body, importlib.import_module(name), f"{block}: {name}")


def compare(body: list[ast.stmt], owner: object, where: str) -> None:
    """Find every class, function and field of a listing in the code, with the same arguments."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            compare(node.body, getattr(owner, node.name), f"{where}.{node.name}")
        elif isinstance(node, ast.FunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
            shown = [one.arg for one in every if one is not None]
            found = inspect.getattr_static(owner, node.name)
            function = found.fget if isinstance(found, property) else getattr(owner, node.name)
            assert shown == list(inspect.signature(function).parameters), f"{where}.{node.name}"
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                name = ast.unparse(target)
                assert hasattr(owner, name) or name in inspect.get_annotations(owner), f"{where}.{name}"


def test_data_parses() -> None:
    for block in BLOCKS:
        if block.language in ("toml", "json"):
            {"toml": tomllib.loads, "json": json.loads}[block.language](block.text)


def test_every_block_has_a_known_language() -> None:
    known = {"python", "console", "toml", "json", "text"}
    assert not [str(block) for block in BLOCKS if block.language not in known]
    for page in PAGES:
        fences = page.read_text(encoding="utf-8").count("```")
        assert fences == 2 * len(list(blocks(page))), f"{page}: a stray fence"


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """List the names by which the headings of a page can be linked."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolves(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    linked = page.parent / path if path else page
    return linked.exists() and (not anchor or anchor in anchors(linked))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "`", prose(page))
    targets = re.findall(r"\]\((?!https://)([^)\s]+)\)", text)
    assert not [target for target in targets if not resolves(page, target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_and_targets_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|recipes|scripts|examples)/[\w./-]+)`", prose(page))
    assert not [name for name in named if not (ROOT / name).exists()]
    assert set(re.findall(r"`make ([a-z]+)`", prose(page))) <= TARGETS


def test_no_figure_is_left_open() -> None:
    mark = "TODO" + "-FIGURE"
    texts = [*PAGES, *ROOT.glob("recipes/**/*.toml"), *ROOT.glob("src/**/*.py")]
    assert not [str(path.relative_to(ROOT)) for path in texts if mark in path.read_text(encoding="utf-8")]
