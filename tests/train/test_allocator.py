"""Memory that is freed is kept: a block of the same size is not cleared by the system again."""

import os
import subprocess
import sys

FAULTS = """
import resource, sys
from unnoise.train.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def faults(how: str, **environment: str) -> int:
    found = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env={**os.environ, **environment}, check=True, capture_output=True
    )
    return int(found.stdout)


def test_freed_memory_is_kept_where_it_would_be_returned() -> None:
    assert faults("default") > 1000, "this C library keeps freed memory by itself; the test needs another case"
    assert faults("kept") < 100


def test_a_setting_of_the_user_stays() -> None:
    assert faults("kept", MALLOC_MMAP_THRESHOLD_="1000000") > 1000


RETURNED = """
from pathlib import Path
from unnoise.train.allocator import keep_freed_memory, return_freed_memory
def held():
    return int(next(line for line in Path("/proc/self/status").open() if line.startswith("RssAnon")).split()[1])
keep_freed_memory()
before = held()
blocks = [bytearray(64 << 10) for _ in range(512)]
last = bytearray(64 << 10)  # above them, so that they are not at the end
del blocks
kept = held() - before
return_freed_memory()
print(kept, held() - before)
"""


def test_freed_memory_is_returned_on_demand() -> None:
    found = subprocess.run([sys.executable, "-c", RETURNED], check=True, capture_output=True)
    kept, left = map(int, found.stdout.split())
    assert kept > 30_000  # kB
    assert left < 4_000
