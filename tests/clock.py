"""Say that work is quick without a clock on the wall: in CPU time, against a plain loop of the same process.

A machine that is slow or busy is slow at the loop as well, so a limit means the same everywhere.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import process_time

MILLION = 1_000_000
# What a child runs to print how many millions of turns its work took.
IN_CHILD = """
import time
start = time.process_time()
{work}
spent, start = time.process_time() - start, time.process_time()
for _ in range(10 ** 6): pass
print(spent / (time.process_time() - start))
"""


def loop() -> float:
    """Give the CPU seconds of a million turns that do nothing."""
    start = process_time()
    for _ in range(MILLION):
        pass
    return process_time() - start


@cache
def reference() -> float:
    """Give the least of a few loops, which is what the machine can do."""
    return min(loop() for _ in range(5))


@contextmanager
def within(millions: float) -> Iterator[None]:
    """Fail where a block takes more CPU time than so many million turns of an empty loop; 60 are about a second.

    Objects of before are left out of garbage collections in the block, which take longer the more tests ran before.
    """
    unit = reference()
    gc.freeze()
    start = process_time()
    try:
        yield
    finally:
        gc.unfreeze()
    spent = (process_time() - start) / unit
    assert spent < millions, f"took as long as {spent:.1f} million turns of an empty loop, {millions} are allowed"
