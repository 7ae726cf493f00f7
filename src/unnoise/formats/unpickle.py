"""Turn a pickle of weights into safetensors, in a process of its own that reads weights and nothing else.

A pickle is a program. torch's weights-only reader runs none of it but the making of tensors and tables; should there be
a way around it, this process has no more than the file: `convert` starts it with an empty environment, limits its
memory and its time, and takes from it one file of tensors.

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
NESTED = ("state_dict", "model", "module")  # keys below which training programs keep the weights
SECONDS = 3600
FACTOR, LEAST = 4, 4 << 30  # address space that may be taken: a multiple of the file, and bytes


def convert(source: Path, target: Path) -> None:
    """Write the tensors of a pickle as safetensors. Raises InputError where it holds anything but weights."""
    if not source.is_file():
        raise InputError(f"{source}: there is no such file")
    if source.suffix.lower() not in SUFFIXES:
        raise InputError(f"{source}: no pickle by its name, which ends in one of {', '.join(SUFFIXES)}")
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: weights are written as .safetensors")
    command = [sys.executable, "-I", "-m", __name__, str(source.resolve()), str(target.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env={"OMP_NUM_THREADS": "1"})
    except subprocess.TimeoutExpired:
        raise InputError(f"{source}: not read in {SECONDS} s") from None
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [f"the reader ended with {done.returncode}"])[-1]
        raise InputError(f"{source}: {told.removeprefix('unnoise.errors.InputError: ')}")


def flat(content: Any) -> dict[str, Tensor]:
    """Find the table of tensors in what a pickle held. Raises InputError where there is none."""
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise InputError(f"holds a {type(content).__name__}, no table of tensors by name")
    found = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not found:
        raise InputError(f"holds no tensor among {len(content)} entries")
    return found


def _short(error: Exception) -> str:
    """Say in a few words why a file was not read."""
    text = " ".join(str(error).split())
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if asked:
        return f"asks for {asked[1]}, which is no weight; it was not run, and nothing was written"
    told = text.partition("WeightsUnpickler error: ")[2] or text
    return f"not a sound file of weights: {told[:200] or type(error).__name__}"


def main(source: str, target: str) -> None:
    """Read and write, with limits on what may be taken."""
    import resource

    most = max(LEAST, FACTOR * Path(source).stat().st_size) + (64 << 30 if torch.cuda.is_available() else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # of the older kind, which is no archive
        content = torch.load(source, map_location="cpu", weights_only=True)
    write_tensors(target, {name: value.contiguous() for name, value in flat(content).items()}, {"format": "pt"})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever a damaged file raises becomes one line
        sys.exit(_short(error))
