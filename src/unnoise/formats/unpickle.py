"""Convert a pickle of weights into safetensors, in a separate process.

A pickle can run code. torch's weights-only loader builds tensors and containers only. In case of a way around it, the
process has little to misuse: `convert` starts it with an empty environment and limits its memory and time.

    python -m unnoise.formats.unpickle IN OUT
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.tensors import write_tensors

SUFFIXES = (".bin", ".ckpt", ".pt", ".pth")
NESTED = ("state_dict", "model", "module")  # keys under which training programs store the weights
SECONDS = 3600
FACTOR, LEAST = 4, 4 << 30  # limit of the address space: a multiple of the file's size, and bytes


def convert(source: Path, target: Path) -> None:
    """Write the tensors of a pickle as safetensors. Raises InputError for a pickle that is not only weights."""
    if not source.is_file():
        raise InputError(f"{source}: no such file")
    if source.suffix.lower() not in SUFFIXES:
        raise InputError(f"{source}: not the name of a pickle, which ends in one of {', '.join(SUFFIXES)}")
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: the file to write must end in .safetensors")
    command = [sys.executable, "-I", "-m", __name__, str(source.resolve()), str(target.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env={"OMP_NUM_THREADS": "1"})
    except subprocess.TimeoutExpired:
        raise InputError(f"{source}: reading took longer than {SECONDS} s") from None
    if done.returncode:
        message = (done.stderr.strip().splitlines() or [f"the reader ended with status {done.returncode}"])[-1]
        raise InputError(f"{source}: {message.removeprefix('unnoise.errors.InputError: ')}")


def flat(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name in the content of a pickle. Raises InputError if there are none."""
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise InputError(f"contains a {type(content).__name__}, not a dict of tensors by name")
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not found:
        raise InputError(f"contains no tensor among {len(content)} entries")
    return found


def _short(error: Exception) -> str:
    """Describe in one line why a file was not read."""
    text = " ".join(str(error).split())
    name = re.search(r"GLOBAL ([\w.]+)", text)
    if name:
        return f"needs {name[1]}, which is not a weight; it was not run, and nothing was written"
    message = text.partition("WeightsUnpickler error: ")[2] or text
    return f"not a valid file of weights: {message[:200] or type(error).__name__}"


def main(source: str, target: str) -> None:
    """Read a pickle and write its tensors, with limits on memory and processes."""
    import resource

    most = max(LEAST, FACTOR * Path(source).stat().st_size) + (64 << 30 if torch.cuda.is_available() else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # the older format, which is not an archive
        content = torch.load(source, map_location="cpu", weights_only=True)
    write_tensors(target, {name: value.contiguous() for name, value in flat(content).items()}, {"format": "pt"})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever a damaged file raises becomes one line
        sys.exit(_short(error))
