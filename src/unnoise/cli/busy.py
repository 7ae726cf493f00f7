"""One line on a terminal while something takes its time."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show a line while the block runs, and clear it. Where stderr is no terminal, show nothing."""
    if not sys.stderr.isatty():
        yield
        return
    print(f"\r{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
