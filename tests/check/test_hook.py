"""The hook of pre-commit and the problem matcher of the docs, on a repository of git and on real output."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BAD = """from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell")
pipe("a crab", num_inference_steps=50)
"""
ORDINARY = {
    "tsconfig.json": '{ // with a comment\n  "compilerOptions": {}\n}\n',
    "package.json": '{"name": "shop"}\n',
    "old.py": 'print "Python 2"\n',
    "setup.sh": "apt-get install git\n",
    "pyproject.toml": "[project]\nname = 'shop'\n",
    "app.py": "import json\nprint(json.dumps({}))\n",
    "README.md": "unnoise\n",
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def hook(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the hook on the staged files as pre-commit does: its entry, with the names that match `files`."""
    one = dict(
        re.findall(r"^[- ] (\w+): '?(.+?)'?(?:  #.*)?$", (ROOT / ".pre-commit-hooks.yaml").read_text(), re.MULTILINE)
    )
    staged = git(folder, "diff", "--staged", "--name-only", "-z").split("\0")
    names = [name for name in staged if name and re.search(one["files"], name)]
    command = [sys.executable, "-m", *shlex.split(one["entry"]), *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    for name, text in ORDINARY.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "add", "--all")
    return tmp_path


def test_a_commit_of_other_files_passes(repository: Path) -> None:
    done = hook(repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Nothing found: 0 files")


def test_a_commit_with_a_fault_is_stopped_by_this_fault_alone(repository: Path) -> None:
    (repository / "make.py").write_text(BAD)
    git(repository, "add", "--all")
    done = hook(repository)
    assert done.returncode == 1
    assert re.findall(r"UN\d{3} \w+", done.stdout) == ["UN122 warning"]


def test_the_problem_matcher_reads_the_output(tmp_path: Path) -> None:
    block = re.search(r'```json\n(\{[^`]*?"problemMatcher".*?)```', (ROOT / "docs" / "check.md").read_text(), re.DOTALL)
    assert block is not None
    [task] = json.loads(block[1])["tasks"]
    pattern = task["problemMatcher"]["pattern"]
    (tmp_path / "my file.py").write_text(BAD)
    command = [sys.executable, "-m", task["command"], *(one.replace("${file}", "my file.py") for one in task["args"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    [found] = [match for line in done.stdout.splitlines() if (match := re.search(pattern["regexp"], line))]
    fields = {name: found[pattern[name]] for name in ("file", "line", "column", "code", "severity", "message")}
    assert fields.pop("message").startswith("FLUX.1 schnell is meant for fewer steps")
    assert fields == {"file": "my file.py", "line": "3", "column": "36", "code": "UN122", "severity": "warning"}
