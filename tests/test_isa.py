"""What depends on the kernels of a CPU holds on CPUs that have fewer: marked tests run again as oneDNN lets them be.

`ONEDNN_MAX_CPU_ISA` is read once a process, so each has its own process, with two threads where the others have one.
The suite itself runs them on the kernels that the CPU has.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
MARKED = ["estimate/test_memory_estimate.py", "estimate/test_bfloat16.py", "integrations/test_foreign_load.py"]
MARKED += ["integrations/test_foreign_single_transformers.py"]


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_what_depends_on_kernels_holds(isa: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cpu_isa", "-p", "no:cacheprovider", *MARKED]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_every_file_with_marked_tests_is_run() -> None:
    mark = "mark.cpu" + "_isa"
    found = {str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py") if mark in path.read_text("utf-8")}
    assert found == set(MARKED)
