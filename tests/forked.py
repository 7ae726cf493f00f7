"""Processes of one training as forks of a test, without the three seconds that a start of Python and torch takes."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch._dynamo  # noqa: F401 - each fork would import it, for seconds
from torch.distributed import FileStore

from unnoise.train.processes import World, joined
from unnoise.train.stop import PeerFailed


def run(size: int, folder: Path, work: Callable[[World], object]) -> list[str]:
    """Run work in so many processes that have joined; return how each ended.

    Each ends with "": the work is done; "-": another process failed; the type and message of an error; or "signal N".
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "store"
    store.unlink(missing_ok=True)
    children = [_fork(rank, size, folder, work) for rank in range(size)]
    return [_end(pid, folder / f"end-{rank}") for rank, pid in enumerate(children)]


def _fork(rank: int, size: int, folder: Path, work: Callable[[World], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    end = ""
    try:
        with joined(FileStore(str(folder / "store"), size), rank, size) as world:
            work(world)
    except PeerFailed as error:
        end = str(error) or "-"
    except BaseException as error:
        end = f"{type(error).__name__}: {error}"
        if not isinstance(error, (ValueError, ArithmeticError, KeyboardInterrupt)):
            traceback.print_exc(file=sys.stderr)
    finally:
        (folder / f"end-{rank}").write_text(end)
        os._exit(0)


def _end(pid: int, path: Path) -> str:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        return f"signal {-code}"
    end = path.read_text()
    path.unlink()
    return end
