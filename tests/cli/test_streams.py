"""What happens where stdout or the disk takes no more: one line on stderr, exit code 1, whatever the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from unnoise.cli.main import main
from unnoise.errors import OutputError

CLOSED = "exec {python} -m unnoise rule UN401 >&-"
FULL = "exec {python} -m unnoise rule UN401 > /dev/full"
GONE = "trap '' PIPE; {python} -m unnoise rule UN401 | true; exit ${{PIPESTATUS[0]}}"
HELP_GONE = "trap '' PIPE; (sleep 0.1; exec {python} -m unnoise --help) | true; exit ${{PIPESTATUS[0]}}"


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (CLOSED, "stdout is closed"),
        (FULL, "cannot write stdout: No space left on device"),
        (GONE, "cannot write stdout: Broken pipe"),
        (HELP_GONE, "cannot write stdout: Broken pipe"),
    ],
    ids=["closed", "full", "reader gone", "reader of help gone"],
)
def test_a_stdout_that_takes_nothing_is_one_line(shell: str, said: str) -> None:
    command = ["bash", "-c", shell.format(python=sys.executable)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"unnoise: {said}")
    assert done.stderr.count("\n") == 1


def test_a_closed_stderr_is_no_error(tmp_path: Path) -> None:
    command = ["bash", "-c", f"exec {sys.executable} -m unnoise rule UN401 2>&-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OutputError("cannot write 'a': No space left on device"), "cannot write 'a': No space left on device"),
        (OSError(28, "No space left on device", "a.txt"), "cannot open 'a.txt': No space left on device"),
    ],
)
def test_a_full_disk_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("unnoise.cli.main._run", fail)
    assert main(["models"]) == 1
    assert capsys.readouterr().err == f"unnoise: {said}\n"
