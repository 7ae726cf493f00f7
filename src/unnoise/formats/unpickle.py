"""Convert a pickle of weights into safetensors, in a separate process.

A pickle can run code. torch's weights-only loader builds tensors and containers only. In case of a way around it, the
process can misuse nothing: it has an empty environment and two open files, the pickle to read and the file to write,
and on Linux no system call that reaches anything else. What it writes, its memory and its time are bounded by the size
of the pickle.
"""

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats import sandbox
from unnoise.formats.atomic import replacing, sweep
from unnoise.formats.content import PICKLE, described
from unnoise.formats.open_file import open_file
from unnoise.formats.tensors import dump_tensors

NESTED = ("state_dict", "model", "module")  # keys under which training programs store the weights
SECONDS, SECONDS_PER_GB = 60, 60  # of time: to start, and by the size
FACTOR, LEAST = 4, 4 << 30  # limit of the address space: a multiple of the file's size, and bytes
GROWTH, SLACK = (
    2,
    16 << 20,
)  # limit of what is written, likewise; weights that share numbers are copied


def convert(source: Path, target: Path) -> None:
    """Write the tensors of a pickle as safetensors. Raises InputError for a pickle that is not only weights."""
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: the file to write must end in .safetensors")
    with open_file(source) as pickled:
        _check_content(source, pickled)
        sweep(target)
        with replacing(target) as file:
            _run(source, pickled, file)


def _check_content(source: Path, file: BinaryIO) -> None:
    words = described(file.read(64))
    file.seek(0)
    if PICKLE not in words:
        raise InputError(f"{source}: not a pickle of weights; it is {words or 'of an unknown format'}")
    try:
        archive = zipfile.ZipFile(file) if zipfile.is_zipfile(file) else None
    except (zipfile.BadZipFile, ValueError, OSError):
        raise InputError(f"{source}: not a valid file of weights: a damaged zip archive") from None
    if archive is not None:
        size = source.stat().st_size
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise InputError(f"{source}: its {size} bytes unpack to more; torch.save does not compress")
    file.seek(0)


def _run(source: Path, pickled: BinaryIO, file: BinaryIO) -> None:
    """Start the process that reads and writes. Raises InputError with its last line if it fails."""
    seconds = SECONDS + SECONDS_PER_GB * source.stat().st_size // (1 << 30)
    command = [sys.executable, "-I", "-m", __name__, str(pickled.fileno()), str(file.fileno())]
    descriptors = pickled.fileno(), file.fileno()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
            env={"OMP_NUM_THREADS": "1"}, pass_fds=descriptors,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{source}: reading took longer than {seconds} s") from None
    if done.returncode:
        message = (done.stderr.strip().splitlines() or [f"the reader ended with status {done.returncode}"])[-1]
        raise InputError(f"{source}: {message.removeprefix('unnoise.errors.InputError: ')[:300]}")


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


def _check_size(tensors: Mapping[str, Tensor], size: int) -> None:
    """Raise InputError if tensors that share their numbers would be written as far more bytes than were read."""
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    if total > GROWTH * size + SLACK:
        raise InputError(f"its tensors are {total} bytes, {total / size:.0f} times the file; at most {GROWTH} times")


def _short(error: Exception) -> str:
    """Describe in one line why a file was not read."""
    text = " ".join(str(error).split())
    name = re.search(r"GLOBAL ([\w.]+)", text)
    if name:
        return f"needs {name[1]}, which is not a weight; it was not run, and nothing was written"
    message = text.partition("WeightsUnpickler error: ")[2] or text
    return f"not a valid file of weights: {message[:200] or type(error).__name__}"


def _import_all() -> None:
    """Read and write once, so that nothing is imported within the sandbox."""
    for archive in (True, False):
        buffer = io.BytesIO()
        torch.save({"a": torch.ones(1)}, buffer, _use_new_zipfile_serialization=archive)
        buffer.seek(0)
        dump_tensors(io.BytesIO(), torch.load(buffer, map_location="cpu", weights_only=True), {})


def _limit(size: int) -> None:
    """Limit memory, time, the size of what is written, and processes."""
    import resource

    # A build with CUDA maps its libraries before this, and reserves addresses for the device.
    most = max(LEAST, FACTOR * size) + (64 << 30 if torch.version.cuda else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (GROWTH * size + 2 * SLACK,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def main(source: int, target: int) -> None:
    """Read a pickle from one open file and write its tensors to another, in the sandbox."""
    size = os.fstat(source).st_size
    with os.fdopen(source, "rb") as pickled, os.fdopen(target, "wb", closefd=False) as file:
        _import_all()
        _limit(size)
        sandbox.enter()
        content = torch.load(pickled, map_location="cpu", weights_only=True)
        tensors = flat(content)
        _check_size(tensors, size)
        dump_tensors(file, {name: value.contiguous() for name, value in tensors.items()}, {"format": "pt"})


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except Exception as error:  # whatever a damaged file raises becomes one line
        sys.exit(_short(error))
