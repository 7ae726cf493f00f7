"""In the sandbox of the converter nothing is reached but the files that are open."""

import subprocess
import sys
from pathlib import Path

import pytest

from unnoise.formats.sandbox import AARCH64, MACHINES, X86_64

REACHED = """
import os, signal, socket, sys
from unnoise.formats import sandbox
kept = open(sys.argv[1], "r+b")
entered = sandbox.enter()
tries = {
    "read": lambda: open("/etc/passwd"), "write": lambda: open(sys.argv[1] + ".new", "w"),
    "list": lambda: os.listdir("/"), "remove": lambda: os.unlink(sys.argv[1]), "link": lambda: os.symlink("a", "b"),
    "network": lambda: socket.socket(), "local": lambda: socket.socketpair(), "fork": os.fork,
    "program": lambda: os.execv("/bin/true", ["true"]), "signal": lambda: os.kill(os.getppid(), signal.SIGTERM),
}
found = []
for name, reach in tries.items():
    try:
        reach()
        found.append(name)
    except PermissionError:
        pass
kept.write(b"written")
kept.flush()
print(entered, *found, flush=True)
"""


@pytest.mark.parametrize("machine", MACHINES)
def test_both_machines_allow_the_same_number_of_calls_once(machine: str) -> None:
    allowed = MACHINES[machine][1]
    assert len(allowed) == len(set(allowed)) == len(X86_64) == len(AARCH64)


def test_only_open_files_are_reached(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"-------")
    done = subprocess.run(
        [sys.executable, "-c", REACHED, str(tmp_path / "a")], capture_output=True, text=True, check=False, timeout=60
    )
    entered, *reached = done.stdout.split()
    assert (tmp_path / "a").read_bytes() == b"written"
    assert (entered, reached) == ("True", []) or (entered == "False" and sys.platform != "linux"), done.stderr
